//! A Rust source file as the rules look at it: its tokens without comments and the insides of literals, and what paths
//! in it reach. Nothing here knows a rule.

use std::fs;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

/// A source file of the workspace.
pub struct Source {
    /// From the workspace's root: `server/src/lab/terminal.rs`.
    pub path: String,
    tokens: Vec<Token>,
}

/// An identifier or number, `::`, or one character of punctuation. A literal is `"`, whatever was in it.
struct Token {
    line: usize,
    text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), tokens: tokens(text) }
    }

    /// All Rust files below some folders of the workspace.
    pub fn read_all(root: &Path, folders: &[&str]) -> Vec<Source> {
        let mut sources = Vec::new();
        for folder in folders {
            read_folder(root, &root.join(folder), &mut sources);
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources
    }

    /// The modules that lead to this file: `lab`, `terminal` for `server/src/lab/terminal.rs`.
    pub fn module(&self) -> Vec<&str> {
        let below_src = self.path.split_once("/src/").map_or("", |(_, rest)| rest);
        let names = below_src.trim_end_matches(".rs").split('/');
        names.filter(|name| !["", "lib", "main", "mod"].contains(name)).collect()
    }

    /// The lines in which a word stands as an identifier.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        self.tokens.iter().filter(|token| token.text == word).map(|token| token.line).collect()
    }

    /// The lines in which a path starts with that crate or module: `shared::…` or `use shared`.
    pub fn lines_reaching(&self, root: &str) -> Vec<usize> {
        let starts = |index: usize| {
            let is_path = self.text(index + 1) == "::" && self.before(index, 1) != "::";
            self.text(index) == root && (is_path || ["use", "crate"].contains(&self.before(index, 1)))
        };
        (0..self.tokens.len()).filter(|index| starts(*index)).map(|index| self.tokens[index].line).collect()
    }

    /// The crate's own top-level modules that paths in this file lead to, through `crate::` or enough `super::`, each
    /// with its line. What is reached at the crate's root without a name (`super::super::*`) is `*`.
    pub fn modules_reached(&self) -> Vec<(usize, &str)> {
        let depth = self.module().len();
        let mut braces = 0;
        // The brace levels at which the modules written within this file, such as `mod tests`, have opened.
        let mut inline: Vec<usize> = Vec::new();
        let mut reached = Vec::new();
        for index in 0..self.tokens.len() {
            match self.text(index) {
                "{" => {
                    braces += 1;
                    if self.before(index, 2) == "mod" {
                        inline.push(braces);
                    }
                }
                "}" => {
                    inline.pop_if(|level| *level == braces);
                    braces = braces.saturating_sub(1);
                }
                "crate" if self.text(index + 1) == "::" => reached.extend(self.names_at(index + 2)),
                "super" if self.before(index, 1) != "::" => {
                    let climbed = (index..).step_by(2).take_while(|place| self.text(*place) == "super").count();
                    if climbed >= depth + inline.len() {
                        reached.extend(self.names_at(index + 2 * climbed));
                    }
                }
                _ => {}
            }
        }
        reached
    }

    /// The first name of each path of the `name` or `{name, name}` at a place.
    fn names_at(&self, place: usize) -> Vec<(usize, &str)> {
        let name = |index: usize| self.tokens.get(index).map(|token| (token.line, token.text.as_str()));
        if self.text(place) != "{" {
            return name(place).into_iter().collect();
        }
        let mut names = Vec::new();
        let mut braces = 0;
        for index in place..self.tokens.len() {
            match self.text(index) {
                "{" => braces += 1,
                "}" => braces -= 1,
                _ => {}
            }
            if braces == 0 {
                break;
            }
            if braces == 1 && ["{", ","].contains(&self.text(index)) && self.text(index + 1) != "}" {
                names.extend(name(index + 1));
            }
        }
        names
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    fn before(&self, index: usize, distance: usize) -> &str {
        index.checked_sub(distance).map_or("", |index| self.text(index))
    }
}

fn read_folder(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display())) {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() {
            read_folder(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            sources.push(Source::new(&name, &text));
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        let start = line;
        let mut take = |text: String| tokens.push(Token { line: start, text });
        match (first, rest.peek().copied()) {
            ('\n', _) => line += 1,
            ('/', Some('/')) => while rest.next_if(|next| *next != '\n').is_some() {},
            ('/', Some('*')) => line += skip_comment(&mut rest),
            (':', Some(':')) => {
                rest.next();
                take("::".into());
            }
            ('"', _) => {
                line += skip_literal(&mut rest, '"');
                take("\"".into());
            }
            ('\'', _) => {
                // A lifetime is a quote and a name; a character literal is closed by a second quote.
                let mut ahead = rest.clone();
                let escaped = ahead.next() == Some('\\');
                if escaped || ahead.next() == Some('\'') {
                    line += skip_literal(&mut rest, '\'');
                    take("\"".into());
                }
            }
            ('_' | 'a'..='z' | 'A'..='Z' | '0'..='9', _) => {
                let mut word = String::from(first);
                while let Some(next) = rest.next_if(|next| next.is_alphanumeric() || *next == '_') {
                    word.push(next);
                }
                if ["r", "br", "cr"].contains(&word.as_str()) {
                    line += skip_raw_string(&mut rest);
                }
                take(word);
            }
            (other, _) if !other.is_whitespace() => take(other.into()),
            _ => {}
        }
    }
    tokens
}

/// Skips the rest of a literal; returns the number of lines it ran over.
fn skip_literal(rest: &mut Peekable<Chars>, end: char) -> usize {
    let mut lines = 0;
    while let Some(next) = rest.next() {
        match next {
            '\\' => lines += usize::from(rest.next() == Some('\n')),
            '\n' => lines += 1,
            _ if next == end => break,
            _ => {}
        }
    }
    lines
}

/// Skips `#"…"#` after its `r`; leaves a raw identifier such as `r#type` alone.
fn skip_raw_string(rest: &mut Peekable<Chars>) -> usize {
    let hashes = rest.clone().take_while(|next| *next == '#').count();
    if rest.clone().nth(hashes) != Some('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let text: String = rest
        .by_ref()
        .skip(hashes + 1)
        .scan(String::new(), |seen, next| {
            seen.push(next);
            (!seen.ends_with(&end)).then_some(next)
        })
        .collect();
    text.matches('\n').count()
}

/// Skips a block comment, which may have others in it, after its first slash.
fn skip_comment(rest: &mut Peekable<Chars>) -> usize {
    let (mut depth, mut lines, mut last) = (0, 0, '/');
    for next in rest.by_ref() {
        lines += usize::from(next == '\n');
        match (last, next) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                last = next;
                continue;
            }
        }
        if depth == 0 {
            break;
        }
        // The characters of one mark are no part of the next: `/*/` opens and does not close.
        last = ' ';
    }
    lines
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "// unsafe\nfn a() { /* unsafe /* unsafe */ unsafe\n */ \"unsafe \\\" unsafe\n\"; 'u'; '\\''; r#\"unsafe \" unsafe\n\"#; }\nunsafe fn b<'unsafe_>() {}\n";
    let source = Source::new("server/src/a.rs", text);
    assert_eq!(source.lines_with("unsafe"), [6]);
    let source = Source::new("server/src/a.rs", "let r#unsafe = b\"unsafe\"; /*/ unsafe */ unsafe");
    assert_eq!(source.lines_with("unsafe"), [1, 1]);
}

#[test]
fn a_path_is_followed_to_the_module_it_reaches() {
    let reached = |path: &str, text: &str| -> Vec<String> {
        Source::new(path, text).modules_reached().into_iter().map(|(_, name)| name.to_owned()).collect()
    };
    let file = "server/src/lab/terminal.rs";
    assert_eq!(reached(file, "use crate::http::Router; crate :: classroom :: a();"), ["http", "classroom"]);
    assert_eq!(reached(file, "use crate::{lab::{self, views}, http};"), ["lab", "http"]);
    assert_eq!(reached(file, "pub(crate) fn a() { super::views::b(); super::super::http::c(); }"), ["http"]);
    assert_eq!(
        reached(file, "fn a() {} mod tests { use super::*; use super::super::views; use super::super::super::http; }"),
        ["http"]
    );
    assert_eq!(reached("server/src/lab/mod.rs", "mod tests { use super::*; } use super::http;"), ["http"]);
}

#[test]
fn a_crate_is_reached_by_the_start_of_a_path_only() {
    let lines = |text: &str| Source::new("server/src/a.rs", text).lines_reaching("shared");
    assert_eq!(lines("use shared::mount;\nuse shared as s;\nlet a = shared::BUILD;"), [1, 2, 3]);
    assert_eq!(lines("let shared: bool = mount.shared;\nmatch shared { Kind::shared => a::shared::b }"), [0; 0]);
}
