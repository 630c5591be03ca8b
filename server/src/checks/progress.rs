//! How far a learner has come, in the form that outlives their machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::task::{Answer, Grade};

/// What a learner has done, by the names of tasks and quizzes. What is not in it has not been begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress(pub BTreeMap<String, Done>);

/// How far one task or quiz is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// A task that is done.
    Task,
    /// A quiz that was answered.
    Quiz(Grade),
}

impl Progress {
    /// More tasks and quizzes than this are not kept: what a lab says is bounded, whatever lessons there may be.
    pub const MOST: usize = 512;
    /// The longest name that is kept, in bytes.
    pub const LONGEST_NAME: usize = 192;
    /// The most options of an answer that are kept.
    pub const MOST_OPTIONS: usize = 16;

    /// Takes out what no lesson can have brought about.
    pub fn bounded(self) -> Progress {
        let is_sane = |(name, done): &(String, Done)| {
            let options = match done {
                Done::Task => 0,
                Done::Quiz(Grade::Predicted { answer: Answer::Chosen { options } }) => options.len(),
                Done::Quiz(Grade::Told { answer: Answer::Chosen { options }, truth }) => options.len().max(truth.len()),
            };
            name.len() <= Progress::LONGEST_NAME && options <= Progress::MOST_OPTIONS
        };
        Progress(self.0.into_iter().filter(is_sane).take(Progress::MOST).collect())
    }
}
