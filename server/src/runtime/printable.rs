//! Text of strangers (registries, images, archives), made fit for a terminal: shown, and not obeyed. Where it comes from
//! is everywhere else.

use std::fmt::Display;

/// The text with each character escaped that would move the cursor, end the line, turn it around, or not be seen.
pub fn printable(text: impl Display) -> String {
    text.to_string().chars().map(escaped).collect()
}

/// The same for what may have several lines.
pub fn printable_lines(text: impl Display) -> String {
    text.to_string().chars().map(|c| if c == '\n' { c.into() } else { escaped(c) }).collect()
}

fn escaped(c: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        c if c.is_ascii_control() => format!("\\x{:02x}", u32::from(c)),
        c if c.is_control() || is_unseen(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    }
}

/// Characters without a glyph, and those that turn a line around (Unicode, "Bidirectional Algorithm").
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_is_shown_without_doing_anything() {
        assert_eq!(printable("a\x1b[2J\r\n\t\x7f"), r"a\x1b[2J\x0d\n\t\x7f");
        assert_eq!(
            printable("ä€\u{202e}\u{2066}\u{200f}\u{61c}\u{9b}\u{feff}"),
            r"ä€\u202e\u2066\u200f\u061c\u009b\ufeff"
        );
        assert_eq!(printable(printable("\x1b\\x1b")), r"\x1b\x1b", "twice is as good as once");
        assert_eq!(printable_lines("a\n\x1bb\n"), "a\n\\x1bb\n");
        assert!((0..=0x10ffff).filter_map(char::from_u32).all(|c| !printable(c).chars().any(char::is_control)));
    }
}
