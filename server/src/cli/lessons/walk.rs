//! One lesson, done by clicking: its commands in order, and what its tasks and quizzes say to that.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use newroot::lab::Handle;
use newroot::lessons::Parsed;
use shared::lesson::{Block, Lesson, Quiz, Task};
use shared::protocol::ToLab;
use shared::task::{Answer, Grade};

use super::page::Page;

/// How long a task may take to turn green after the last command before it.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the page calls the fold with the commands that solve a task.
const SOLUTION: &str = "Solution";

/// What is wrong with a lesson.
pub struct Fault {
    /// `lessons/04-…/lesson.md`.
    file: String,
    line: usize,
    what: String,
    /// What the machine looked like, and what the learner was shown.
    seen: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n{}", self.file, self.line, self.what, self.seen)
    }
}

/// How many commands a walk runs, and how many tasks and quizzes there are.
pub fn count(lesson: &Lesson) -> (usize, usize) {
    let blocks = || lesson.steps.iter().flat_map(|step| &step.blocks);
    let checks = blocks().filter(|block| matches!(block, Block::Task { .. } | Block::Quiz { .. }));
    (blocks().map(|block| commands(block).len()).sum(), checks.count())
}

/// A lesson that is being walked.
pub struct Walk<'a> {
    lab: &'a Handle,
    lesson: &'a Parsed,
    page: Page,
    quizzes: Vec<&'a Quiz>,
}

impl<'a> Walk<'a> {
    /// Opens a page on a new lab.
    pub async fn begin(lab: &'a Handle, lesson: &'a Parsed) -> Result<Walk<'a>> {
        Ok(Walk { lab, lesson, page: Page::open(lab).await?, quizzes: Vec::new() })
    }

    /// Does all of it. Returns the first fault; errors where there is no walking on for reasons that are not the lesson's.
    pub async fn through(mut self) -> Result<Option<Fault>> {
        let fault = self.find_fault().await?;
        self.page.close().await;
        Ok(fault)
    }

    async fn find_fault(&mut self) -> Result<Option<Fault>> {
        for step in &self.lesson.lesson.steps {
            let mut fault = self.too_early(&step.blocks).await?;
            let mut blocks = step.blocks.iter().enumerate();
            while let (None, Some((place, block))) = (&fault, blocks.next()) {
                fault = match block {
                    Block::Task { task } => {
                        let rest = &step.blocks[place + 1..];
                        let solution = rest.first().filter(|block| is_solution(block));
                        match self.solve(task, solution).await? {
                            None => self.too_early(rest).await?,
                            fault => fault,
                        }
                    }
                    Block::Quiz { quiz } => self.predict(quiz).await?,
                    // A solution has been run with its task.
                    Block::Command { .. } => self.run(block, None).await?,
                    Block::Fold { .. } | Block::Prose { .. } => None,
                };
            }
            if fault.is_some() {
                return Ok(fault);
            }
        }
        self.grade().await
    }

    /// A fault where the next of these tasks is done already, with nothing run that would do it.
    async fn too_early(&mut self, blocks: &[Block]) -> Result<Option<Fault>> {
        let next = blocks.iter().find_map(|block| match block {
            Block::Task { task } => Some(task),
            _ => None,
        });
        let Some(task) = next else { return Ok(None) };
        let look = self.lab.look().await?;
        match look.tasks.iter().any(|state| state.id == task.id && state.done) {
            true => self.fault(&task.id, "the task is done before the commands that should do it").await.map(Some),
            false => Ok(None),
        }
    }

    async fn run(&mut self, block: &Block, task: Option<&Task>) -> Result<Option<Fault>> {
        for (terminal, text) in commands(block) {
            let typed = self.page.run(terminal, text).await?;
            // People look at what a command has done before they type the next, and so does the lab.
            self.lab.look().await?;
            if !typed {
                let what = format!("`{text}` cannot be typed: the terminal `{terminal}` has no prompt");
                let next = task.map_or_else(|| self.next_check(), |task| task.id.clone());
                return self.fault(&next, &what).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn solve(&mut self, task: &Task, solution: Option<&Block>) -> Result<Option<Fault>> {
        if let Some(solution) = solution
            && let Some(fault) = self.run(solution, Some(task)).await?
        {
            return Ok(Some(fault));
        }
        let is_done = |page: &Page| page.tasks.get(&task.id).is_some_and(|state| state.done);
        match self.page.until(PATIENCE, is_done).await? {
            true => Ok(None),
            false => {
                self.fault(&task.id, "the task is not done, though all commands before it were run").await.map(Some)
            }
        }
    }

    /// Answers a quiz where it stands; what becomes of it is seen at the end.
    async fn predict(&mut self, quiz: &'a Quiz) -> Result<Option<Fault>> {
        let answer = Answer::Chosen { options: vec![0] };
        self.page.tell(&ToLab::Answer { quiz: quiz.id.clone(), answer }).await?;
        let is_taken = |page: &Page| page.tasks.get(&quiz.id).is_some_and(|state| state.grade.is_some());
        self.quizzes.push(quiz);
        match self.page.until(PATIENCE, is_taken).await? {
            true => Ok(None),
            false => self.fault(&quiz.id, "the quiz takes no answer").await.map(Some),
        }
    }

    async fn grade(&mut self) -> Result<Option<Fault>> {
        for quiz in std::mem::take(&mut self.quizzes) {
            let truth = |page: &Page| match &page.tasks.get(&quiz.id)?.grade {
                Some(Grade::Told { truth, .. }) => Some(truth.len()),
                _ => None,
            };
            self.page.until(PATIENCE, |page| truth(page).is_some()).await?;
            let what = match truth(&self.page) {
                None => "the quiz was never graded, though all commands of the lesson were run".to_owned(),
                Some(0) => "when the quiz was graded, no option was true".to_owned(),
                Some(count) if count > 1 && !quiz.several => {
                    format!("when the quiz was graded, {count} options were true, and learners can choose one")
                }
                Some(_) => continue,
            };
            return self.fault(&quiz.id, &what).await.map(Some);
        }
        Ok(None)
    }

    /// The first task or quiz that is not over, for the place of a fault that is about none.
    fn next_check(&self) -> String {
        let mut ids = self.lesson.checks.iter().map(|placed| &placed.check.id);
        let is_open = |id: &&String| self.page.tasks.get(*id).is_none_or(|state| !state.done);
        ids.find(is_open).cloned().unwrap_or_default()
    }

    async fn fault(&self, id: &str, what: &str) -> Result<Fault> {
        let placed = self.lesson.checks.iter().find(|placed| placed.check.id == id);
        let hints = self.page.tasks.get(id).map_or(&[][..], |state| &state.hints);
        let facts = self.lab.look().await?.facts.unwrap_or_default();
        let mut seen: Vec<String> = hints.iter().map(|hint| format!("  a hint fits: {}", hint.trim())).collect();
        seen.extend(summary(&serde_json::from_str(&facts).unwrap_or_default()));
        for terminal in shared::lesson::TERMINALS {
            let shown = self.page.tail(terminal).replace('\r', "").replace('\n', "\n    ");
            seen.push(format!("  the terminal {terminal} shows:\n    {}", shown.trim()));
        }
        Ok(Fault {
            file: format!("{}/lesson.md", self.lesson.folder),
            line: placed.map_or(1, |placed| placed.line),
            what: format!("{what} ({id})"),
            seen: seen.join("\n"),
        })
    }
}

fn is_solution(block: &Block) -> bool {
    matches!(block, Block::Fold { title, .. } if title == SOLUTION)
}

/// What a click on everything in a block types: the terminals and the commands.
fn commands(block: &Block) -> Vec<(&str, &str)> {
    match block {
        Block::Command { terminal, text } => vec![(terminal, text)],
        Block::Fold { blocks, .. } if is_solution(block) => blocks.iter().flat_map(commands).collect(),
        _ => Vec::new(),
    }
}

/// The facts that most expressions are about, a line each.
fn summary(facts: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let views = list(&facts["views"]).into_iter().map(|view| {
        let points: Vec<String> = list(&view["rows"])
            .iter()
            .map(|row| format!("{}:{}:{}", row["point"], row["type"], row["propagation"]))
            .collect();
        format!(
            "  view: host {}, root {}, processes {}, rows {}",
            view["host"],
            view["root"],
            view["processes"],
            points.join(" ")
        )
    });
    let processes = list(&facts["processes"]).into_iter().map(|process| {
        format!(
            "  process {} of {}: {} in {}, root {}, cwd {}",
            process["pid"],
            process["parent"],
            process["arguments"],
            process["terminal"],
            process["root"],
            process["cwd"]
        )
    });
    views.chain(processes).collect()
}
