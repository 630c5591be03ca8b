//! Where the files of lessons come from: this binary, or a directory that was named on the command line.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rust_embed::RustEmbed;

use super::{LoadError, limits};

/// The file that makes a folder a lesson.
pub const LESSON: &str = "lesson.md";

/// The files of a lesson.
pub struct Folder {
    /// The folder's name.
    pub slug: String,
    /// The folder, for people.
    pub shown: String,
    /// What is in its `lesson.md`.
    pub lesson: Vec<u8>,
    /// Its twins, by their names: what is in each.
    pub twins: BTreeMap<String, Vec<u8>>,
}

/// What lies in the folder `lessons/` of the repository.
#[derive(RustEmbed)]
#[folder = "../lessons"]
#[allow_missing = true]
struct Files;

/// The lessons in this binary.
pub fn embedded() -> Vec<Folder> {
    let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
    for path in Files::iter() {
        let (Some((slug, name)), Some(file)) = (path.split_once('/'), Files::get(&path)) else { continue };
        let folder = folders.entry(slug.to_owned()).or_insert_with(|| Folder {
            slug: slug.to_owned(),
            shown: format!("lessons/{slug}"),
            lesson: Vec::new(),
            twins: BTreeMap::new(),
        });
        match name {
            LESSON => folder.lesson = file.data.into_owned(),
            name if is_twin(name) => drop(folder.twins.insert(name.to_owned(), file.data.into_owned())),
            _ => {}
        }
    }
    folders.into_values().collect()
}

/// The lessons in a directory: those of its folders that have a `lesson.md`.
pub fn read(directory: &Path) -> Result<Vec<Folder>, LoadError> {
    let mut folders = Vec::new();
    for name in names(directory)? {
        let path = directory.join(&name);
        // What is hidden is an editor's or git's.
        if name.starts_with('.') || !path.join(LESSON).is_file() {
            continue;
        }
        if folders.len() >= limits::LESSONS {
            return Err(LoadError::TooMany { directory: directory.to_owned() });
        }
        let twins = names(&path)?.into_iter().filter(|name| is_twin(name) && path.join(name).is_file());
        let twins = twins.take(limits::TWINS).map(|name| {
            let bytes = bytes(&path.join(&name))?;
            Ok((name, bytes))
        });
        let twins = twins.collect::<Result<_, LoadError>>()?;
        let lesson = bytes(&path.join(LESSON))?;
        folders.push(Folder { slug: name, shown: path.display().to_string(), lesson, twins });
    }
    match folders.is_empty() {
        true => Err(LoadError::None { directory: directory.to_owned() }),
        false => Ok(folders),
    }
}

/// Whether a lesson's folder may have this name: `04-mount-namespace`. It is part of addresses, and of task's names.
pub fn is_name(name: &str) -> bool {
    let usual = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let (number, words) = name.split_once('-').unwrap_or((name, ""));
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(usual);
    number.len() == 2 && number.bytes().all(|digit| digit.is_ascii_digit()) && words.split('-').all(is_word)
}

/// Whether a file tells the taught code in another language.
fn is_twin(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(".go") || name.ends_with(".sh"))
}

/// The names in a directory, in order.
fn names(directory: &Path) -> Result<Vec<String>, LoadError> {
    let failed = |error| LoadError::Read { path: directory.to_owned(), error };
    let entries = fs::read_dir(directory).map_err(failed)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    names.sort();
    Ok(names)
}

/// What is in a file, up to a byte more than it may have.
fn bytes(path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limits::FILE + 1).read_to_end(&mut bytes));
    read.map(|_length| bytes).map_err(|error| LoadError::Read { path: path.to_owned(), error })
}
