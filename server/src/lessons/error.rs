//! What can be wrong with a lesson, said to the person who wrote it: the file, the line, and what to write instead.

use std::io;
use std::path::PathBuf;

use shared::lesson::TERMINALS;

use super::limits;

/// Lessons could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// One of them has a fault.
    #[error(transparent)]
    Fault(#[from] Error),
    /// A file or a folder could not be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A directory that was named has none.
    #[error("there is no lesson in {}; each is a folder in it, NN-slug, with a file lesson.md", directory.display())]
    None {
        /// That directory.
        directory: PathBuf,
    },
    /// A directory has more than anybody would write.
    #[error("there are more than {} lessons in {}", limits::LESSONS, directory.display())]
    TooMany {
        /// That directory.
        directory: PathBuf,
    },
    /// The kernel does not tell what is saved.
    #[error("cannot watch {} (inotify(7)): {error}; the limits are in /proc/sys/fs/inotify", path.display())]
    Watch {
        /// What was to be watched.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl LoadError {
    /// Whether somebody else may have what was refused here.
    pub fn is_refused(&self) -> bool {
        matches!(self, LoadError::Read { error, .. } | LoadError::Watch { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// A fault in a lesson, and where it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{folder}/{file}:{line}: {problem}")]
pub struct Error {
    /// The lesson's folder: in the repository, or as it was named on the command line.
    pub folder: String,
    /// The file in it: `lesson.md`, or a twin.
    pub file: String,
    /// The line in that file, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// A fault in a lesson.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message is its description")]
pub enum Problem {
    #[error(
        "a lesson's folder is called NN-slug: two digits, and words of small letters or digits, with hyphens between"
    )]
    FolderName,
    #[error("the file is larger than {} KiB", limits::FILE / 1024)]
    TooLarge,
    #[error("the file is not UTF-8 from here on")]
    NotUtf8,
    #[error("a lesson begins with a head: a line `+++`, a line `title = \"…\"`, and a line `+++`")]
    NoHead,
    #[error("the head is not what it should be: {message}")]
    BadHead { message: String },
    #[error("the lesson has an empty title")]
    EmptyTitle,
    #[error(
        "`{path}` in `files` is not an absolute path without `.`, `..` and `//`, of at most {} bytes",
        limits::PATH
    )]
    BadPath { path: String },
    #[error("`files` has more than {} paths", limits::PATHS)]
    TooManyPaths,
    #[error("the lesson has no steps; each begins with a line `# Title`")]
    NoSteps,
    #[error("this stands before the first step; begin the step with a line `# Title`")]
    BeforeFirstStep,
    #[error("a step needs a title after the `#`")]
    UntitledStep,
    #[error("the step has no content")]
    EmptyStep,
    #[error("an earlier step has the same address, `{slug}`; give this one another title")]
    SameStep { slug: String },
    #[error("the step names its code a second time")]
    SecondCodeStep,
    #[error("no file of server/src/runtime has a line `// step: {name}`")]
    UnknownCodeStep { name: String },
    #[error("there is no terminal `{name}`; a command has `run=` and one of: {}", TERMINALS.join(", "))]
    UnknownTerminal { name: String },
    #[error("`{word}` means nothing after the language of a code block; only `run=TERMINAL` does")]
    UnknownFenceWord { word: String },
    #[error("the command is empty")]
    EmptyCommand,
    #[error(
        "`[!{name}]` is not known; there are [!HINT], [!ANSWER] and [!SOLUTION], [!TASK NAME] and [!QUIZ NAME], and the \
         unfolded [!NOTE]"
    )]
    UnknownFold { name: String },
    #[error(
        "a command, a fold, a task or a quiz stands by itself, not inside a list or a quotation; a task or a quiz not in a fold either"
    )]
    Nested,
    #[error("quotations, lists and the like lie more than {} deep in each other", limits::DEPTH)]
    TooDeep,
    #[error("no line of the step's code has the text `{text}`, in any language")]
    UnknownLine { text: String },
    #[error("HTML is not shown; the one comment with a meaning is `<!-- code: STEP -->`, alone between empty lines")]
    Html,
    #[error("pictures are not shown yet")]
    Picture,
    #[error("a link goes to an address that begins with https://, not to `{address}`")]
    Link { address: String },
    #[error("a task or a quiz has a name of small letters, digits and hyphens: `[!TASK own-tmpfs]`")]
    TaskName,
    #[error("a quiz may have the word `several` after its name, and not `{word}`")]
    QuizWord { word: String },
    #[error("an earlier task or quiz is called `{name}`; give this one another name")]
    SameTask { name: String },
    #[error("the lesson has more than {} tasks and quizzes", limits::TASKS)]
    TooManyTasks,
    #[error(
        "a task is one paragraph, a block `check`, and as often as you like a block `hint-when` with its advice; this is out of place"
    )]
    TaskForm,
    #[error("a quiz is one paragraph, a list of options, and a block `check`; this is out of place")]
    QuizForm,
    #[error("there is no block `check`")]
    NoCheck,
    #[error("a block `{name}` belongs into a task or a quiz")]
    StrayExpression { name: String },
    #[error("the hint says nothing; its text stands after its block `hint-when`")]
    EmptyHint,
    #[error("a task has at most {} hints", limits::HINTS)]
    TooManyHints,
    #[error("a quiz has from 2 to {} options", limits::OPTIONS)]
    OptionCount,
    #[error("an option is a line of text, and at its end its expression between backticks")]
    OptionForm,
    #[error("the expression is not understood: {message}")]
    Expression { message: String },
}
