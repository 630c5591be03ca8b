//! The lessons and the taught code, as the page receives them, and the checks, as labs do. Lessons are compiled into the
//! binary, or read from a directory. How one is written is told in `lessons/README.md`; who has got how far in one is not
//! known here.

mod cgroups;
mod code;
mod error;
mod folder;
mod highlight;
mod limits;
mod live;
mod parse;

use std::path::Path;

use shared::lesson::{Language, Lesson, SourceFile};

use crate::checks::Check;
use code::Steps;
pub use code::{code, code_steps};
pub use error::{Error, LoadError, Problem};
use folder::Folder;
pub use live::{Edition, fixed, watched};
pub use parse::Placed;

/// The image that lessons pull, if it can be had.
pub const IMAGE: &str = "alpine";

/// What `{image}` and `{why-image}` in a lesson's text stand for: an image's name, and a sentence that says why it is this one.
struct Image {
    name: &'static str,
    why: &'static str,
}

const ALPINE: Image =
    Image { name: IMAGE, why: "The image is `alpine`, a small Linux distribution: some megabytes in one layer." };

const BUSYBOX: Image = Image {
    name: "busybox",
    why: "The image is `busybox`, since `alpine` cannot be pulled here just now: Newroot carries this one along, so that a \
          classroom needs no network.",
};

/// A lesson as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What the page gets.
    pub lesson: Lesson,
    /// What decides its tasks and quizzes, in the order of the text.
    pub checks: Vec<Placed>,
    /// Where it lies: a folder in the repository, or as it was named on the command line.
    pub folder: String,
}

/// Lessons in the order of their numbers: each for the image they should use, and for the one that needs no network.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    alpine: Vec<Parsed>,
    busybox: Vec<Parsed>,
}

impl Choice {
    /// Reads the lessons that are in this binary. Fails, as the others do, at the first fault of the first faulty one.
    pub fn embedded() -> Result<Choice, LoadError> {
        Choice::of(&folder::embedded()).map_err(LoadError::from)
    }

    /// Reads the lessons of a directory, and none else.
    pub fn of_directory(directory: &Path) -> Result<Choice, LoadError> {
        Ok(Choice::of(&folder::read(directory)?)?)
    }

    /// Reads the lessons in this binary and those of a directory. One of the directory stands for that of the same folder
    /// in the binary, as a whole.
    pub fn with_directory(directory: &Path) -> Result<Choice, LoadError> {
        let mut folders = folder::read(directory)?;
        let others = folder::embedded().into_iter().filter(|one| folders.iter().all(|own| own.slug != one.slug));
        folders.extend(others.collect::<Vec<_>>());
        Ok(Choice::of(&folders)?)
    }

    fn of(folders: &[Folder]) -> Result<Choice, Error> {
        let runtime = code();
        let read = |image: &Image| {
            let mut lessons: Vec<_> =
                folders.iter().map(|folder| read(folder, image, &runtime)).collect::<Result<_, _>>()?;
            lessons.sort_by(|one: &Parsed, other| one.lesson.slug.cmp(&other.lesson.slug));
            Ok::<_, Error>(lessons)
        };
        Ok(Choice { alpine: read(&ALPINE)?, busybox: read(&BUSYBOX)? })
    }

    /// The lessons as read, given whether [`IMAGE`] can be pulled.
    pub fn parsed(&self, has_image: bool) -> &[Parsed] {
        if has_image { &self.alpine } else { &self.busybox }
    }

    /// The lessons for the page.
    pub fn lessons(&self, has_image: bool) -> Vec<&Lesson> {
        self.parsed(has_image).iter().map(|parsed| &parsed.lesson).collect()
    }

    /// The checks of all lessons, for a lab.
    pub fn checks(&self, has_image: bool) -> Vec<Check> {
        let placed = self.parsed(has_image).iter().flat_map(|parsed| &parsed.checks);
        placed.map(|placed| placed.check.clone()).collect()
    }
}

/// Reads a lesson. `runtime` is the taught code.
fn read(folder: &Folder, image: &Image, runtime: &[SourceFile]) -> Result<Parsed, Error> {
    let error =
        |file: &str, (line, problem)| Error { folder: folder.shown.clone(), file: file.to_owned(), line, problem };
    if !folder::is_name(&folder.slug) {
        return Err(error(folder::LESSON, (1, Problem::FolderName)));
    }
    // None has a line break, so that faults are told with the file's own line numbers.
    let source = cgroups::name(&text(&folder.lesson).map_err(|fault| error(folder::LESSON, fault))?)
        .replace("{image}", image.name)
        .replace("{why-image}", image.why);
    let mut code_steps = Steps::of(runtime);
    let mut twins = Vec::with_capacity(folder.twins.len());
    for (name, bytes) in &folder.twins {
        let language = if name.ends_with(".go") { Language::Go } else { Language::Shell };
        let text = text(bytes).map_err(|fault| error(name, fault))?;
        let twin = code::cut(&folder.shown, name, language, &text);
        code_steps.add_twin(&twin).map_err(|fault| error(name, fault))?;
        twins.push(twin);
    }
    let (lesson, checks) =
        parse::lesson(&folder.slug, &source, &code_steps).map_err(|fault| error(folder::LESSON, fault))?;
    Ok(Parsed { lesson: Lesson { twins, ..lesson }, checks, folder: folder.shown.clone() })
}

/// The text of a file, with line ends as everywhere but on Windows.
fn text(bytes: &[u8]) -> Result<String, (usize, Problem)> {
    if bytes.len() as u64 > limits::FILE {
        return Err((1, Problem::TooLarge));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to());
        (1 + before.filter(|byte| **byte == b'\n').count(), Problem::NotUtf8)
    })?;
    Ok(text.trim_start_matches('\u{feff}').replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests;
