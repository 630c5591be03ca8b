//! How far a learner is: the states of the tasks and quizzes of all lessons. What a task asks is told by the lesson.

use serde::{Deserialize, Serialize};

/// A task's or a quiz's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// Which one: [`crate::lesson::Task::id`] or [`crate::lesson::Quiz::id`].
    pub id: String,
    /// Whether it is done. It stays so, whatever the machine looks like later, and after a reset.
    pub done: bool,
    /// Advice that fits what the machine looks like now, as HTML; empty where none does, or where it is done.
    pub hints: Vec<String>,
    /// Of a quiz that was answered: what came of it.
    pub grade: Option<Grade>,
}

/// An answer to a quiz.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer {
    /// The numbers of the chosen options, from 0.
    Chosen {
        /// In ascending order.
        options: Vec<u32>,
    },
}

/// What came of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Grade {
    /// The learner has predicted, and has not yet run what tells.
    Predicted {
        /// Their answer.
        answer: Answer,
    },
    /// The machine has told.
    Told {
        /// Their answer.
        answer: Answer,
        /// The options that are true, by the machine's own tables.
        truth: Vec<u32>,
    },
}
