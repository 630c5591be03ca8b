//! Host and Origin, read strictly: what two programs could understand in two ways is not understood at all.

/// A host's name or address, and a port (RFC 3986, section 3.2, without user names).
#[derive(Debug, PartialEq, Eq)]
pub struct Authority {
    /// In small letters, and without the dot of the root at its end. An address of IPv6 has its brackets.
    pub name: String,
    /// As it was written; none stands for the scheme's own.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads `NAME` or `NAME:PORT`.
    pub fn parse(text: &str) -> Option<Authority> {
        let (name, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(bracketed) => {
                let (address, rest) = bracketed?;
                let address: std::net::Ipv6Addr = address.parse().ok()?;
                (format!("[{address}]"), (!rest.is_empty()).then(|| rest.strip_prefix(':')))
            }
            None => {
                let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
                (plain(name)?, port.map(Some))
            }
        };
        let port = match port {
            None => None,
            // All digits: parse() alone would take a sign.
            Some(digits) => Some(digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?),
        };
        Some(Authority { name, port })
    }

    /// The port that is meant where the scheme's own is this one.
    fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

/// A name as it is compared, if it can be one. Names in other scripts come in ASCII (RFC 5891, section 4).
fn plain(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = !name.is_empty() && name.bytes().all(is_letter) && !name.starts_with('.') && !name.ends_with('.');
    is_name.then(|| name.to_ascii_lowercase())
}

/// Whether a name that somebody has written for us is this one.
pub fn is_same_name(ours: &str, name: &str) -> bool {
    Authority::parse(ours).is_some_and(|ours| ours.name == name)
}

/// Where a page comes from, in the form that browsers tell (RFC 6454, section 6.2). `null` and all else is none.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    authority: Authority,
    default_port: u16,
}

impl Origin {
    /// Reads `http://HOST` and `https://HOST`.
    pub fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.split_once("://")?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        Some(Origin { authority: Authority::parse(authority)?, default_port })
    }

    /// Whether its pages are those of this host. We do not see which scheme the browser uses, for a proxy may speak https
    /// for us; so a port that is not there is that of the page's scheme.
    pub fn is_of(&self, host: &Authority) -> bool {
        self.authority.name == host.name && self.authority.port_or(self.default_port) == host.port_or(self.default_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports_in_one_form() {
        let authority = |text| Authority::parse(text).map(|Authority { name, port }| (name, port));
        let is = |name: &str, port| Some((name.to_owned(), port));
        assert_eq!(authority("Lab.Example"), is("lab.example", None));
        assert_eq!(authority("lab.example.:8080"), is("lab.example", Some(8080)));
        assert_eq!(authority("127.0.0.1:80"), is("127.0.0.1", Some(80)));
        assert_eq!(authority("[::1]:8080"), is("[::1]", Some(8080)));
        assert_eq!(authority("[0:0::1]"), is("[::1]", None));
        assert_eq!(authority("xn--bcher-kva.example"), is("xn--bcher-kva.example", None));
        for wrong in [
            "",
            ".",
            "..",
            ":80",
            "a:",
            "a:b",
            "a:+80",
            "a:-1",
            "a:65536",
            "a:80:80",
            "::1",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[a]",
            "a@b",
            "user:pass@b",
            "a/b",
            "a b",
            "a,b",
            "a?",
            "a#",
            "a\\b",
            "a%62",
            "bücher",
            "a..",
            ".a",
            "*",
        ] {
            assert_eq!(authority(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_page_is_ours_when_name_and_port_are() {
        let is_ours = |origin: &str, host: &str| {
            Origin::parse(origin).is_some_and(|origin| origin.is_of(&Authority::parse(host).expect("a host")))
        };
        for (origin, host) in [
            ("http://localhost:8080", "localhost:8080"),
            ("http://LOCALHOST:8080", "localhost.:8080"),
            ("https://lab.example", "lab.example"),
            ("https://lab.example", "lab.example:443"),
            ("http://lab.example:80", "lab.example"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_ours(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://localhost:8081", "localhost:8080"),
            ("http://localhost", "localhost:8080"),
            ("http://lab.example", "lab.example:443"),
            ("https://lab.example:80", "lab.example"),
            ("null", "null"),
            ("", "localhost"),
            ("localhost", "localhost"),
            ("file://localhost", "localhost"),
            ("ftp://localhost", "localhost"),
            ("HTTP://localhost", "localhost"),
            ("chrome-extension://localhost", "localhost"),
            ("http://user@localhost", "localhost"),
            ("http://localhost/", "localhost"),
            ("http://localhost http://evil.example", "localhost"),
            ("http://evil.example, http://localhost", "localhost"),
            ("http://localhost.evil.example", "localhost"),
            ("http:localhost", "localhost"),
        ] {
            assert!(!is_ours(origin, host), "{origin} {host}");
        }
    }
}
