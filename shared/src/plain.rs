//! Text that a machine's learner has chosen (a program's name, a path, an address), made fit to stand in a sentence of
//! ours: nothing in it moves, hides or turns around what stands beside it.

/// As many marks may stand over and under one letter, as in any writing; more would cover the lines around it.
const MOST_MARKS: usize = 4;

/// Begins and ends a stretch whose direction has nothing to do with what is around it (Unicode Standard Annex 9: FSI, PDI).
const ISOLATE: (char, char) = ('\u{2068}', '\u{2069}');

/// Whether a character is not seen, ends the line, or says how others are written: it is never what it looks like.
pub fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
        )
}

/// The text with what is odd in it as escapes; and apart from its surroundings, where some of it is written from right to
/// left: `(57)` behind a Hebrew name would else stand before it.
pub fn plain(text: &str) -> String {
    let mut marks = 0;
    let written = |c: char| {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        match is_odd(c) || marks > MOST_MARKS {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        }
    };
    let escaped: String = text.chars().map(written).collect();
    match escaped.contains(is_right_to_left) {
        true => format!("{}{escaped}{}", ISOLATE.0, ISOLATE.1),
        false => escaped,
    }
}

/// Whether a character stands over or under the one before it.
fn is_mark(c: char) -> bool {
    matches!(
        c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
    )
}

/// Whether a character belongs to a writing that goes from right to left.
fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_hide_or_turn_text_around_is_written_as_an_escape() {
        for (text, shown) in [
            ("sh", "sh"),
            ("/mnt/ä b", "/mnt/ä b"),
            ("a\nb\u{1b}[2J\u{9b}", r"a\nb\u{1b}[2J\u{9b}"),
            ("nginx\u{202e}hs", r"nginx\u{202e}hs"),
            ("a\u{2066}\u{200b}\u{61c}\u{feff}\u{e0041}", r"a\u{2066}\u{200b}\u{61c}\u{feff}\u{e0041}"),
            ("e\u{301}", "e\u{301}"),
            ("e\u{301}\u{301}\u{301}\u{301}\u{301}\u{302}", "e\u{301}\u{301}\u{301}\u{301}\\u{301}\\u{302}"),
            ("אב", "\u{2068}אב\u{2069}"),
            ("אב\u{2069}\u{202e}", "\u{2068}אב\\u{2069}\\u{202e}\u{2069}"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    #[test]
    fn every_character_that_unicode_calls_a_format_one_is_odd() {
        // General category Cf up to U+FFFF (Unicode 16), but for those that are seen: number signs of Arabic and Syriac.
        let formats = [
            0xad, 0x61c, 0x180e, 0x200b, 0x200f, 0x202a, 0x202e, 0x2060, 0x2064, 0x2066, 0x206f, 0xfeff, 0xfff9, 0xfffb,
        ];
        for number in formats {
            assert!(char::from_u32(number).is_some_and(is_odd), "{number:x}");
        }
    }
}
