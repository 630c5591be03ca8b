//! Which words of the shown code have which colour, decided once when the server starts. It knows the three languages
//! only as well as colours need it, and never loses or changes a character.

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};
use shared::lesson::{Kind, Language, Token};

/// The lines of a text, each as its coloured pieces.
pub fn highlight(language: Language, text: &str) -> Vec<Vec<Token>> {
    let mut inside = None;
    text.lines().map(|line| one_line(language, line, &mut inside)).collect()
}

/// Colours the code blocks of prose. The text stays text, so that the renderer escapes it.
pub fn code_blocks<'a>(events: impl Iterator<Item = Event<'a>>) -> impl Iterator<Item = Event<'a>> {
    let mut language = None;
    events.flat_map(move |event| {
        match (&event, language) {
            (Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))), _) => language = named(info),
            (Event::End(TagEnd::CodeBlock), _) => language = None,
            (Event::Text(text), Some(language)) => return coloured(language, text),
            _ => {}
        }
        vec![event]
    })
}

fn named(info: &str) -> Option<Language> {
    match info.split_whitespace().next()? {
        "rust" => Some(Language::Rust),
        "go" => Some(Language::Go),
        "sh" | "console" => Some(Language::Shell),
        _ => None,
    }
}

fn coloured<'a>(language: Language, text: &str) -> Vec<Event<'a>> {
    let lines = highlight(language, text);
    let mut events = Vec::new();
    for (place, line) in lines.into_iter().enumerate() {
        if place > 0 {
            events.push(Event::Text("\n".into()));
        }
        for Token(kind, text) in line {
            match kind {
                Kind::Plain => events.push(Event::Text(text.into())),
                _ => events.extend([
                    Event::InlineHtml(format!("<span class=\"{}\">", kind.name()).into()),
                    Event::Text(text.into()),
                    Event::InlineHtml("</span>".into()),
                ]),
            }
        }
    }
    if text.ends_with('\n') {
        events.push(Event::Text("\n".into()));
    }
    events
}

/// `inside` is the closing quotation mark of a string that began in a line before, and goes on after this one.
fn one_line(language: Language, line: &str, inside: &mut Option<char>) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (kind, length) = match *inside {
            Some(mark) => (Kind::String, string(language, rest, mark, inside)),
            None => first(language, rest, line.len() == rest.len() || ends_in_space(line, rest), inside),
        };
        let (token, after) = rest.split_at(length);
        match tokens.last_mut() {
            Some(Token(before, text)) if *before == kind => text.push_str(token),
            _ => tokens.push(Token(kind, token.to_owned())),
        }
        rest = after;
    }
    tokens
}

fn ends_in_space(line: &str, rest: &str) -> bool {
    line[..line.len() - rest.len()].ends_with([' ', '\t'])
}

/// What the first piece is, and its length in bytes: at least one character.
fn first(language: Language, rest: &str, at_word: bool, inside: &mut Option<char>) -> (Kind, usize) {
    let letter = rest.chars().next().unwrap_or(' ');
    let word = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    match (language, letter) {
        (Language::Shell, '#') if at_word => (Kind::Comment, rest.len()),
        (Language::Rust | Language::Go, '/') if rest.starts_with("//") => (Kind::Comment, rest.len()),
        (Language::Rust, '\'') => character(rest),
        (_, '"') | (Language::Go, '`' | '\'') | (Language::Shell, '\'') => {
            *inside = Some(letter);
            (Kind::String, 1 + string(language, &rest[1..], letter, inside))
        }
        (Language::Shell, '$') => variable(rest),
        _ if letter.is_ascii_digit() => (Kind::Constant, word),
        _ if word > 0 => (of_word(language, &rest[..word], &rest[word..], at_word), word),
        _ => (Kind::Plain, letter.len_utf8()),
    }
}

/// How much of `rest` still belongs to a string; closes `inside` where it ends.
fn string(language: Language, rest: &str, mark: char, inside: &mut Option<char>) -> usize {
    let mut escaped = false;
    for (place, letter) in rest.char_indices() {
        if letter == mark && !escaped {
            *inside = None;
            return place + mark.len_utf8();
        }
        // Between these marks a backslash is a backslash.
        let raw = mark == '`' || (language == Language::Shell && mark == '\'');
        escaped = letter == '\\' && !escaped && !raw;
    }
    rest.len()
}

/// A character of Rust, `'a'` or `'\n'`; else the mark of a lifetime.
fn character(rest: &str) -> (Kind, usize) {
    let mut letters = rest.char_indices().skip(1).skip_while(|(_, letter)| *letter == '\\').skip(1);
    match letters.next() {
        Some((place, '\'')) => (Kind::String, place + 1),
        _ => (Kind::Plain, 1),
    }
}

/// A variable of the shell: `$1`, `$name`, `${name:-other}`. What is in `$(…)` is code.
fn variable(rest: &str) -> (Kind, usize) {
    let name = &rest[1..];
    let length = match name.chars().next() {
        Some('{') => name.find('}').map_or(name.len(), |end| end + 1),
        Some('@' | '?' | '$' | '#') => 1,
        _ => name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(name.len()),
    };
    if length == 0 { (Kind::Plain, 1) } else { (Kind::Constant, 1 + length) }
}

fn of_word(language: Language, word: &str, after: &str, at_word: bool) -> Kind {
    let (keywords, types, commands): (&[&str], &[&str], &[&str]) = match language {
        Language::Rust => (RUST, RUST_TYPES, &[]),
        Language::Go => (GO, GO_TYPES, &[]),
        Language::Shell => (SHELL, &[], COMMANDS),
    };
    let capitals = word.len() > 1 && word.chars().all(|letter| !letter.is_lowercase());
    if keywords.contains(&word) {
        Kind::Keyword
    } else if types.contains(&word) {
        Kind::Type
    } else if after.starts_with('(') || (language == Language::Rust && after.starts_with("!(")) {
        Kind::Function
    } else if language == Language::Shell {
        if at_word && commands.contains(&word) { Kind::Function } else { Kind::Plain }
    } else if capitals && word.contains(char::is_alphabetic) {
        Kind::Constant
    } else if language == Language::Rust && word.starts_with(char::is_uppercase) {
        Kind::Type
    } else {
        Kind::Plain
    }
}

const RUST: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "false", "fn", "for", "if",
    "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "self", "static", "struct",
    "super", "trait", "true", "type", "unsafe", "use", "where", "while",
];
const RUST_TYPES: &[&str] = &[
    "bool", "char", "f64", "i32", "i64", "str", "u8", "u16", "u32", "u64", "usize", "Self", "Ok", "Err", "Some", "None",
];
const GO: &[&str] = &[
    "break",
    "case",
    "chan",
    "const",
    "continue",
    "default",
    "defer",
    "else",
    "false",
    "for",
    "func",
    "go",
    "if",
    "import",
    "interface",
    "map",
    "nil",
    "package",
    "range",
    "return",
    "select",
    "struct",
    "switch",
    "true",
    "type",
    "var",
];
const GO_TYPES: &[&str] = &["any", "bool", "byte", "error", "int", "string", "uint", "uintptr"];
const SHELL: &[&str] = &[
    "break", "case", "do", "done", "elif", "else", "esac", "exec", "exit", "fi", "for", "function", "if", "in",
    "local", "return", "set", "shift", "then", "until", "while",
];
const COMMANDS: &[&str] = &[
    "cd",
    "chroot",
    "echo",
    "env",
    "grep",
    "head",
    "ls",
    "mkdir",
    "mount",
    "newroot",
    "pivot_root",
    "printf",
    "pwd",
    "rm",
    "rmdir",
    "sed",
    "sh",
    "sha256sum",
    "tar",
    "tr",
    "umount",
    "unshare",
    "wget",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(language: Language, text: &str) -> Vec<(Kind, String)> {
        let lines = highlight(language, text);
        lines
            .into_iter()
            .flatten()
            .map(|Token(kind, text)| (kind, text))
            .filter(|(kind, _)| *kind != Kind::Plain)
            .collect()
    }

    fn of(kind: Kind, text: &str) -> (Kind, String) {
        (kind, text.to_owned())
    }

    #[test]
    fn words_have_the_colour_of_what_they_are() {
        assert_eq!(
            kinds(Language::Rust, "pub fn run(&'a self) -> Result<u8, '\\n'> { CLONE_NEWNS; // why"),
            [
                of(Kind::Keyword, "pub"),
                of(Kind::Keyword, "fn"),
                of(Kind::Function, "run"),
                of(Kind::Keyword, "self"),
                of(Kind::Type, "Result"),
                of(Kind::Type, "u8"),
                of(Kind::String, "'\\n'"),
                of(Kind::Constant, "CLONE_NEWNS"),
                of(Kind::Comment, "// why"),
            ]
        );
        assert_eq!(
            kinds(Language::Shell, "mount --rbind \"$rootfs\" $1 # x#y"),
            [
                of(Kind::Function, "mount"),
                of(Kind::String, "\"$rootfs\""),
                of(Kind::Constant, "$1"),
                of(Kind::Comment, "# x#y")
            ]
        );
        assert_eq!(
            kinds(Language::Go, "var a = `one\ntwo \"` + 'x' + f(0o755)"),
            [
                of(Kind::Keyword, "var"),
                of(Kind::String, "`one"),
                of(Kind::String, "two \"`"),
                of(Kind::String, "'x'"),
                of(Kind::Function, "f"),
                of(Kind::Constant, "0o755"),
            ]
        );
    }

    #[test]
    fn no_character_is_lost_whatever_the_text() {
        for text in ["", "ü # 'ä \\", "'", "\"a\\\"b", "$", "${", "$(ls)", "a'b'c", "`", "x\ty  # é", "r#\"a\"#"] {
            for language in [Language::Rust, Language::Go, Language::Shell] {
                let lines = highlight(language, text);
                let again: Vec<String> =
                    lines.into_iter().map(|line| line.into_iter().map(|token| token.1).collect()).collect();
                assert_eq!(again.join("\n"), text, "{language:?}");
            }
        }
    }
}
