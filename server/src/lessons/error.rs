//! What can be wrong with a lesson, said to the person who wrote it: the file, the line, and what to write instead.

use shared::lesson::TERMINALS;

/// A fault in a lesson, and where it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("lessons/{lesson}/{file}:{line}: {problem}")]
pub struct Error {
    /// The lesson's folder.
    pub lesson: String,
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
    #[error("the file is not UTF-8 from here on")]
    NotUtf8,
    #[error("a lesson begins with a head: a line `+++`, a line `title = \"…\"`, and a line `+++`")]
    NoHead,
    #[error("the head is not what it should be: {message}")]
    BadHead { message: String },
    #[error("the lesson has an empty title")]
    EmptyTitle,
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
    #[error("`[!{name}]` is not known; there are [!HINT], [!ANSWER] and [!SOLUTION], and the unfolded [!NOTE]")]
    UnknownFold { name: String },
    #[error("a command or a fold stands by itself, not inside a list or a quotation")]
    Nested,
    #[error("no line of the step's code has the text `{text}`, in any language")]
    UnknownLine { text: String },
    #[error("HTML is not shown; the one comment with a meaning is `<!-- code: STEP -->`, alone between empty lines")]
    Html,
    #[error("pictures are not shown yet")]
    Picture,
    #[error("a link goes to an address that begins with https://, not to `{address}`")]
    Link { address: String },
}
