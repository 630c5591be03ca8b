//! How far a learner is: what the lessons ask, put together with what the lab says of it. Quizzes have a state like tasks,
//! but do not count: a prediction is for the learner, and nothing waits for it.

use std::collections::HashMap;

use crate::lesson::{Block, Lesson, Step, Task};
use crate::task::TaskState;

/// The states of all tasks and quizzes that were told, by their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress(HashMap<String, TaskState>);

/// So many tasks of so many are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Tasks that are done.
    pub done: usize,
    /// All tasks.
    pub all: usize,
}

/// A step of one of several lessons: the places of both, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which lesson.
    pub lesson: usize,
    /// Which of its steps.
    pub step: usize,
}

impl Progress {
    /// Takes in what the lab says, and tells the ids of what has been done since it was last told: each once, for what is
    /// done stays so. What is told for the first time is no news, or a reload would tell it all again.
    pub fn take(&mut self, states: Vec<TaskState>) -> Vec<String> {
        let mut news = Vec::new();
        for state in states {
            let before = self.0.insert(state.id.clone(), state.clone());
            if state.done && before.is_some_and(|before| !before.done) {
                news.push(state.id);
            }
        }
        news
    }

    /// The state of a task or a quiz; `None` where nothing was told of it.
    pub fn of(&self, id: &str) -> Option<&TaskState> {
        self.0.get(id)
    }

    /// How many tasks of a step are done.
    pub fn of_step(&self, step: &Step) -> Count {
        let tasks = tasks(&step.blocks);
        let done = tasks.iter().filter(|task| self.of(&task.id).is_some_and(|state| state.done)).count();
        Count { done, all: tasks.len() }
    }

    /// How many tasks of a lesson are done.
    pub fn of_lesson(&self, lesson: &Lesson) -> Count {
        lesson
            .steps
            .iter()
            .map(|step| self.of_step(step))
            .fold(Count::default(), |sum, count| Count { done: sum.done + count.done, all: sum.all + count.all })
    }
}

impl Count {
    /// Whether something is still to do.
    pub fn is_open(self) -> bool {
        self.done < self.all
    }

    /// Whether there was something to do, and all of it is done.
    pub fn is_complete(self) -> bool {
        self.all > 0 && !self.is_open()
    }
}

/// The tasks among these blocks, those in folds included.
pub fn tasks(blocks: &[Block]) -> Vec<&Task> {
    let among = blocks.iter().flat_map(|block| match block {
        Block::Task { task } => vec![task],
        Block::Fold { blocks, .. } => tasks(blocks),
        Block::Prose { .. } | Block::Command { .. } | Block::Quiz { .. } => Vec::new(),
    });
    among.collect()
}

/// The step that is so many steps further on, or back where `by` is negative, as if all lessons were one.
pub fn further(lessons: &[Lesson], from: Place, by: isize) -> Option<Place> {
    let places = || {
        lessons
            .iter()
            .enumerate()
            .flat_map(|(lesson, steps)| (0..steps.steps.len()).map(move |step| Place { lesson, step }))
    };
    let place = places().position(|place| place == from)?;
    places().nth(place.checked_add_signed(by)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str) -> Block {
        Block::Task { task: Task { id: id.to_owned(), html: String::new() } }
    }

    fn step(blocks: Vec<Block>) -> Step {
        Step { slug: String::new(), title: String::new(), blocks, code: None, line: Vec::new() }
    }

    fn lesson(steps: Vec<Step>) -> Lesson {
        Lesson { slug: String::new(), title: String::new(), steps, twins: Vec::new() }
    }

    fn state(id: &str, done: bool) -> TaskState {
        TaskState { id: id.to_owned(), done, hints: Vec::new(), grade: None }
    }

    #[test]
    fn what_gets_done_is_news_once_and_what_was_done_before_is_none() {
        let mut progress = Progress::default();
        assert!(progress.take(vec![state("a", true), state("b", false)]).is_empty());
        let advised = TaskState { hints: vec!["<p>Look.</p>".to_owned()], ..state("b", false) };
        assert!(progress.take(vec![advised.clone()]).is_empty());
        assert_eq!(progress.of("b"), Some(&advised));
        assert_eq!(progress.take(vec![state("b", true)]), ["b"]);
        // A connection that was lost and came back tells all of them again.
        assert!(progress.take(vec![state("a", true), state("b", true)]).is_empty());
        assert_eq!(progress.of("c"), None);
    }

    #[test]
    fn what_got_done_while_the_page_was_away_is_news_when_it_comes_back() {
        let mut progress = Progress::default();
        progress.take(vec![state("a", false), state("b", false)]);
        assert_eq!(progress.take(vec![state("a", true), state("b", false)]), ["a"]);
    }

    #[test]
    fn tasks_are_counted_in_folds_too_and_a_step_without_any_is_neither_open_nor_complete() {
        let fold = Block::Fold { title: "Hint".to_owned(), blocks: vec![task("b")] };
        let lesson = lesson(vec![step(vec![task("a"), fold]), step(Vec::new()), step(vec![task("c")])]);
        let mut progress = Progress::default();
        progress.take(vec![state("b", true), state("c", true), state("elsewhere", true)]);
        let counts: Vec<Count> = lesson.steps.iter().map(|step| progress.of_step(step)).collect();
        assert_eq!(counts, [Count { done: 1, all: 2 }, Count { done: 0, all: 0 }, Count { done: 1, all: 1 }]);
        assert_eq!(counts.iter().map(|count| count.is_open()).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(counts.iter().map(|count| count.is_complete()).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(progress.of_lesson(&lesson), Count { done: 2, all: 3 });
    }

    #[test]
    fn one_lesson_leads_to_the_next_and_back() {
        let lessons = [lesson(vec![step(Vec::new()), step(Vec::new())]), lesson(vec![step(Vec::new())])];
        let place = |lesson, step| Place { lesson, step };
        assert_eq!(further(&lessons, place(0, 0), 1), Some(place(0, 1)));
        assert_eq!(further(&lessons, place(0, 1), 1), Some(place(1, 0)));
        assert_eq!(further(&lessons, place(1, 0), -1), Some(place(0, 1)));
        assert_eq!(further(&lessons, place(0, 0), -1), None);
        assert_eq!(further(&lessons, place(1, 0), 1), None);
        assert_eq!(further(&lessons, place(1, 7), 1), None);
    }
}
