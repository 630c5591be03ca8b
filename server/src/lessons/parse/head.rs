//! A lesson's head: what is told about it once, in TOML.

use serde::Deserialize;
use toml::Spanned;

use super::{Fault, Problem, line_of};
use crate::lessons::limits;

/// The head of a lesson.
pub struct Head {
    /// The lesson's title.
    pub title: String,
    /// The paths that its expressions may ask about.
    pub files: Vec<String>,
    /// Where the body begins in the file, in bytes.
    pub end: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    title: String,
    #[serde(default)]
    files: Vec<Spanned<String>>,
}

const OPEN: &str = "+++\n";
const CLOSE: &str = "\n+++\n";

impl Head {
    /// Reads the head of a file.
    pub fn read(source: &str) -> Result<Head, Fault> {
        let no_head = || (1, Problem::NoHead);
        let inner = source.strip_prefix(OPEN).ok_or_else(no_head)?;
        let (toml, _) = inner.split_once(CLOSE).ok_or_else(no_head)?;
        let at = |byte: usize, problem| (line_of(source, OPEN.len() + byte), problem);
        let fields: Fields = toml::from_str(toml).map_err(|error| {
            at(error.span().map_or(0, |span| span.start), Problem::BadHead { message: error.message().to_owned() })
        })?;
        if fields.title.trim().is_empty() {
            return Err(at(0, Problem::EmptyTitle));
        }
        for (place, path) in fields.files.iter().enumerate() {
            let start = path.span().start;
            if place >= limits::PATHS {
                return Err(at(start, Problem::TooManyPaths));
            }
            if !is_plain(path.get_ref()) {
                return Err(at(start, Problem::BadPath { path: path.get_ref().clone() }));
            }
        }
        let files = fields.files.into_iter().map(Spanned::into_inner).collect();
        Ok(Head { title: fields.title, files, end: OPEN.len() + toml.len() + CLOSE.len() })
    }
}

/// Whether a path is absolute, and the only spelling of what it names.
fn is_plain(path: &str) -> bool {
    let usual = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    path.len() <= limits::PATH && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(usual))
}
