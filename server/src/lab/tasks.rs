//! How far the learner is with the lessons' tasks and quizzes. What is done stays done; what a machine looks like, and what
//! is therefore true, is found out by the judge.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use tokio::sync::watch;

use shared::task::{Answer, Grade, TaskState};

use super::judge::Verdict;
use crate::checks::{Check, Done, Progress};

/// The lessons' checks and what came of them: nothing, to begin with.
#[derive(Default)]
pub struct Tasks {
    checks: RefCell<Vec<Check>>,
    /// How often they were replaced.
    edition: Cell<u64>,
    progress: watch::Sender<Progress>,
    /// The hints that fit, by check; for those that are not done.
    hints: RefCell<HashMap<String, Vec<usize>>>,
    /// Grows with each change of [`Tasks::states`].
    changes: watch::Sender<u64>,
}

impl Tasks {
    /// Takes note of what the learner has done elsewhere. What is known here already stays as it is.
    pub fn remember(&self, progress: Progress) {
        self.progress.send_if_modified(|known| {
            let before = known.0.len();
            for (id, done) in progress.bounded().0 {
                known.0.entry(id).or_insert(done);
            }
            known.0.len() > before
        });
    }

    /// All states, in the order of the lessons.
    pub fn states(&self) -> Vec<TaskState> {
        let (progress, hints) = (self.progress.borrow(), self.hints.borrow());
        let checks = self.checks.borrow();
        let states = checks.iter().map(|check| {
            let done = progress.0.get(&check.id);
            let fitting = hints.get(&check.id).filter(|_| !is_over(done)).into_iter().flatten();
            TaskState {
                id: check.id.clone(),
                done: is_over(done),
                hints: fitting.filter_map(|&number| Some(check.hints.get(number)?.html.clone())).collect(),
                grade: match done {
                    Some(Done::Quiz(grade)) => Some(grade.clone()),
                    Some(Done::Task) | None => None,
                },
            }
        });
        states.collect()
    }

    /// Which list of checks this is.
    pub fn edition(&self) -> u64 {
        self.edition.get()
    }

    /// Which version of [`Tasks::states`] this is.
    pub fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    /// What is to outlive this lab, and tells when it has changed.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The places of the checks that a look at the machine may change something about: tasks that are not done, and
    /// quizzes that were answered.
    pub fn open(&self) -> Vec<usize> {
        let progress = self.progress.borrow();
        let is_open = |check: &Check| match progress.0.get(&check.id) {
            None => check.options.is_empty(),
            done @ Some(_) => !is_over(done),
        };
        self.checks.borrow().iter().enumerate().filter(|(_, check)| is_open(check)).map(|(place, _)| place).collect()
    }

    /// The paths that the checks ask about.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.checks.borrow().iter().flat_map(|check| check.files.clone()).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// There are other checks from now on. What is done stays done by its name, whatever it asks now.
    pub fn replace(&self, checks: Vec<Check>) {
        self.checks.replace(checks);
        self.edition.set(self.edition.get() + 1);
        // Numbers of hints of the former ones.
        self.hints.borrow_mut().clear();
        self.changed();
    }

    /// Takes an answer to a quiz; another one before the machine has told takes its place. False where it is none.
    pub fn answer(&self, quiz: &str, answer: Answer) -> bool {
        let Answer::Chosen { options } = &answer;
        let checks = self.checks.borrow();
        let Some(check) = checks.iter().find(|check| check.id == quiz) else { return false };
        let ascending = options.is_sorted_by(|one, next| one < next);
        let known = options.iter().all(|&option| (option as usize) < check.options.len());
        if options.is_empty() || !ascending || !known || is_over(self.progress.borrow().0.get(quiz)) {
            return false;
        }
        self.keep(quiz, Done::Quiz(Grade::Predicted { answer }));
        true
    }

    /// Takes what is true now of the checks in these places. True where that changes a state.
    pub fn judge(&self, verdicts: Vec<(usize, Verdict)>) -> bool {
        let before = self.version();
        for (place, verdict) in verdicts {
            let checks = self.checks.borrow();
            let Some(check) = checks.get(place) else { continue };
            let done = self.progress.borrow().0.get(&check.id).cloned();
            match (done, verdict) {
                (None, Verdict { when: true, .. }) if check.options.is_empty() => self.keep(&check.id, Done::Task),
                (Some(Done::Quiz(Grade::Predicted { answer })), Verdict { when: true, truth: Some(truth), .. }) => {
                    self.keep(&check.id, Done::Quiz(Grade::Told { answer, truth }));
                }
                (None, Verdict { hints, .. }) => {
                    let mut known = self.hints.borrow_mut();
                    if known.get(&check.id).map_or(&[][..], Vec::as_slice) != hints {
                        known.insert(check.id.clone(), hints);
                        self.changed();
                    }
                }
                (Some(_), _) => {}
            }
        }
        self.version() != before
    }

    fn keep(&self, id: &str, done: Done) {
        self.progress.send_modify(|progress| {
            if progress.0.len() < Progress::MOST || progress.0.contains_key(id) {
                progress.0.insert(id.to_owned(), done);
            }
        });
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

fn is_over(done: Option<&Done>) -> bool {
    matches!(done, Some(Done::Task | Done::Quiz(Grade::Told { .. })))
}
