//! What the tasks and quizzes of lessons ask of a machine: conditions in CEL (the Common Expression Language) over a document
//! of facts, whose shape `lessons/FACTS.md` tells. Where the facts come from, and who has done what, is not known here.

use serde::{Deserialize, Serialize};

mod expression;
pub mod facts;
mod progress;
mod value;

pub use expression::{Expression, Fault, Unknown, check, compile};
pub use facts::Facts;
pub use progress::{Done, Progress};
pub use value::Document;

/// A task or a quiz of a lesson, as the lab judges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// [`shared::lesson::Task::id`] or [`shared::lesson::Quiz::id`].
    pub id: String,
    /// Of a task, when it is done; of a quiz, from when on the machine can tell what is true.
    pub when: String,
    /// Advice, and when it fits.
    pub hints: Vec<Hint>,
    /// The paths in the machine, absolute, that the expressions ask about.
    pub files: Vec<String>,
    /// Of a quiz, when each option is true. A task has none.
    pub options: Vec<String>,
}

/// Advice for a learner whose machine is in a certain state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The expression that tells the state.
    pub when: String,
    /// The advice, as HTML.
    pub html: String,
}
