//! Whom to tell of a fault in this very server, where its operator has named somebody: /.well-known/security.txt (RFC 9116).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// For so long the answer may be believed; it begins anew with each request.
const VALID: Duration = Duration::from_secs(180 * 24 * 3600);

/// A way to reach the operator: an address that begins with `mailto:`, `https:` or `tel:`.
#[derive(Clone, Debug)]
pub struct Contact(String);

impl std::str::FromStr for Contact {
    type Err = String;

    fn from_str(text: &str) -> Result<Contact, String> {
        let known =
            ["mailto:", "https://", "tel:"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
        match known && text.chars().all(|c| c.is_ascii_graphic()) {
            true => Ok(Contact(text.to_owned())),
            false => {
                Err("a contact is an address like mailto:security@example.org or https://example.org/report".into())
            }
        }
    }
}

/// The file.
pub fn text(contact: &Contact) -> String {
    let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + VALID;
    format!("Contact: {}\nExpires: {}\nPreferred-Languages: en\n", contact.0, date(expires.as_secs()))
}

/// Seconds since 1970 as RFC 3339 writes them, to the day. A year of this reckoning begins in March, so that a leap day is
/// its last.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    format!("{:04}-{month:02}-{day:02}T00:00:00Z", era * 400 + year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // As date(1) says them.
        let days = [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_651_200, "2026-11-26"),
            (4_107_542_400, "2100-03-01"),
        ];
        for (seconds, day) in days {
            assert_eq!(date(seconds), format!("{day}T00:00:00Z"));
        }
    }

    #[test]
    fn a_contact_is_an_address_and_one_line() {
        assert!(
            text(&"mailto:a@b.example".parse().expect("a contact"))
                .starts_with("Contact: mailto:a@b.example\nExpires: ")
        );
        for wrong in
            ["", "mailto:", "a@b.example", "http://b.example", "https://b.example/\nExpires: never", "mailto:ä@b"]
        {
            assert!(wrong.parse::<Contact>().is_err(), "{wrong:?}");
        }
    }
}
