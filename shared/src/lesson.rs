//! A lesson and the taught code as the page receives them. Parsing lives in the server.

use serde::{Deserialize, Serialize};

/// The names of the terminals that a lab begins with, in the order of their tabs; each command of a lesson goes to one.
pub const TERMINALS: [&str; 2] = ["host", "container"];

/// A lesson: `lessons/NN-slug/lesson.md`, parsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lesson {
    /// The folder's name, which is its address: `04-mount-namespace-and-root-directory`.
    pub slug: String,
    /// Its title.
    pub title: String,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// The taught code once more, in other languages. Their steps have the names of the runtime's.
    pub twins: Vec<SourceFile>,
}

/// A step: what the lesson pane shows at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its address within the lesson, made from the title.
    pub slug: String,
    /// Its title.
    pub title: String,
    /// Its content, in order.
    pub blocks: Vec<Block>,
    /// The step of the taught code that belongs to it: the name of a [`CodeStep`].
    pub code: Option<String>,
    /// The line of that code which it is about: the first that contains one of these texts, in each language.
    pub line: Vec<String>,
}

/// A piece of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Text, as HTML without scripts, styles or raw HTML of the author's.
    Prose {
        /// The HTML.
        html: String,
    },
    /// A command that runs with one click.
    Command {
        /// The name of the terminal it runs in.
        terminal: String,
        /// What is typed, without the final Enter. May have several lines.
        text: String,
    },
    /// Something to bring about, in whatever way.
    Task {
        /// The task.
        task: Task,
    },
    /// Something to predict, before running what tells.
    Quiz {
        /// The quiz.
        quiz: Quiz,
    },
    /// Folded away until asked for.
    Fold {
        /// What the fold says while closed: `Hint`, `Solution`.
        title: String,
        /// What it hides.
        blocks: Vec<Block>,
    },
}

/// What a learner should bring about. Whether they have is decided in the lab, from what its kernel says: see
/// [`crate::task::TaskState`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name, unique among all lessons: `04-mount-namespace-and-root-directory/leak-nothing`.
    pub id: String,
    /// What to do, as HTML of one paragraph.
    pub html: String,
}

/// A question about what the kernel will say, with options to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiz {
    /// Its name, unique among all lessons, like a task's.
    pub id: String,
    /// The question, as HTML of one paragraph.
    pub html: String,
    /// The options, as HTML of one line each.
    pub options: Vec<String>,
    /// Whether several may be true.
    pub several: bool,
}

/// A file of the taught runtime, as compiled into this very binary, or a lesson's twin of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name in its folder: `child.rs`.
    pub name: String,
    /// That folder in the repository: `server/src/runtime`.
    pub folder: String,
    /// What it is written in.
    pub language: Language,
    /// Its lines without the step markers and the tests, each with its number in the file on disk (from 1).
    pub lines: Vec<(u32, Vec<Token>)>,
    /// Its steps, in the order of the file.
    pub steps: Vec<CodeStep>,
}

/// What code is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// The runtime itself.
    Rust,
    /// The workshop's.
    Go,
    /// Of a POSIX shell.
    Shell,
}

/// A piece of a line that has one colour, and its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token(pub Kind, pub String);

/// What a piece of code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Anything else.
    Plain,
    /// For the reader.
    Comment,
    /// A word of the language.
    Keyword,
    /// The name of a type.
    Type,
    /// The name of what is called.
    Function,
    /// A constant, a number, a variable of the shell.
    Constant,
    /// Text.
    String,
}

impl Kind {
    /// As the style sheet has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Comment => "comment",
            Kind::Keyword => "keyword",
            Kind::Type => "type",
            Kind::Function => "function",
            Kind::Constant => "constant",
            Kind::String => "string",
        }
    }
}

/// A part of a file of the taught runtime, between a step marker and the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeStep {
    /// Its name, unique among all files: `change-root`.
    pub name: String,
    /// Its first and last line, as numbered in [`SourceFile::lines`].
    pub lines: (u32, u32),
}
