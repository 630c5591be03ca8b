//! The lab's part in its learner's course: when the machine is looked at, and what the pages and the server are told.

use std::collections::HashMap;
use std::fs::File;
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use shared::task::{Answer, TaskState};

use super::super::facts::{self, Seen, TooMuch};
use super::super::tasks::Tasks;
use super::{Lab, PAUSE, PAUSE_TIMES};
use crate::checks::{Check, Facts, Progress};

/// The least time between two looks: as fast as somebody can follow ticks that appear.
const LOOK_EACH: Duration = Duration::from_millis(100);
/// As often are the tables read that go on changing; whoever changes them then brings another look.
const MOST_READS: usize = 4;
/// As many UTS namespaces are asked for their host names.
const MOST_HOSTNAMES: usize = 16;

impl Lab {
    /// How far the learner is.
    pub(in super::super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// What is to outlive this lab.
    pub(in super::super) fn progress(&self) -> watch::Receiver<Progress> {
        self.tasks.progress()
    }

    /// The server's lessons are these from now on. With the first of them comes what the learner has done before.
    pub(in super::super) fn set_checks(&self, checks: Vec<Check>, progress: Option<Progress>) {
        self.tasks.remember(progress.unwrap_or_default());
        self.judge.set_checks(checks.clone());
        self.tasks.replace(checks);
        self.facts_due.notify_one();
        self.changed();
    }

    /// A page's answer to a quiz.
    pub(in super::super) fn answer(&self, quiz: &str, answer: Answer) {
        self.used();
        if self.tasks.answer(quiz, answer) {
            self.facts_due.notify_one();
            self.changed();
        }
    }

    /// Looks at the machine whenever something has happened in it, while a check is open that this may decide.
    pub(super) async fn judge_when_due(self: Rc<Self>) {
        loop {
            self.facts_due.notified().await;
            if self.tasks.open().is_empty() {
                continue;
            }
            // What belongs together is seen together.
            sleep(PAUSE).await;
            let began = Instant::now();
            self.look_and_judge().await;
            sleep(LOOK_EACH.max(began.elapsed() * PAUSE_TIMES)).await;
        }
    }

    /// Looks at everything anew, whether anything has told of a change or not.
    pub(in super::super) async fn look_afresh(&self) -> (Option<Facts>, Vec<TaskState>) {
        self.views().doubt_all();
        let scanned = self.views.borrow_mut().scan();
        if let Err(error) = scanned.and_then(|()| self.take_news()) {
            tracing::warn!("the mount tables may be out of date: {error}");
        }
        self.look_and_judge().await
    }

    /// Looks now, and says what was seen and how far the learner is; no facts where there is too much to look at.
    async fn look_and_judge(&self) -> (Option<Facts>, Vec<TaskState>) {
        // Several may look at once; each look is whole by itself.
        let (edition, judgement) = match self.see().await {
            Ok(seen) => {
                let looking = self.looking.clone().lock_owned().await;
                (self.tasks.edition(), self.judge.look(seen, self.tasks.open(), looking).await)
            }
            Err(TooMuch) => (self.tasks.edition(), None),
        };
        let facts = judgement.map(|judgement| {
            // Verdicts name checks by their places: in a list that was replaced meanwhile those are others.
            if edition == self.tasks.edition() && self.tasks.judge(judgement.verdicts) {
                self.changed();
            }
            judgement.facts
        });
        (facts, self.tasks.states())
    }

    async fn see(&self) -> Result<Seen, TooMuch> {
        let init = self.machine.borrow().as_ref().map(|machine| machine.pid).ok_or(TooMuch)?;
        // Where it is known already that there is too much, nothing is read for it.
        if self.views().rows() > facts::ROWS {
            return Err(TooMuch);
        }
        let terminals = self.terminals();
        let terminals =
            terminals.iter().filter_map(|terminal| Some((terminal.session()?, terminal.name.borrow().clone())));
        let mut seen = Seen {
            init,
            processes: Vec::new(),
            views: Vec::new(),
            terminals: terminals.collect(),
            hostnames: HashMap::new(),
            paths: self.tasks.paths(),
            cgroup: self.cgroup(),
            calls: self.trace.finished(),
        };
        self.settle()?;
        {
            let views = self.views();
            if views.not_shown() != Default::default() {
                return Err(TooMuch);
            }
            seen.processes = views.processes();
            let mut rows = facts::ROWS;
            for live in views.list() {
                seen.views.push((facts::view(live, &mut rows)?, live.members().to_vec()));
            }
        }
        seen.hostnames = self.hostnames(&seen.processes).await;
        Ok(seen)
    }

    /// Has all tables be read at one moment: a mount that has come between a look at one and a look at the other would seem
    /// to be in one alone.
    fn settle(&self) -> Result<(), TooMuch> {
        for _ in 0..MOST_READS {
            match self.views.borrow_mut().read_all() {
                Ok(false) => return Ok(()),
                // The kernel does not tell of all changes; pages hear of this one here.
                Ok(true) => self.changed(),
                Err(error) => tracing::warn!("the mount tables may be out of date: {error}"),
            }
        }
        Err(TooMuch)
    }

    /// The host names in the UTS namespaces of these processes, by inode. Only who is in one can read its name.
    async fn hostnames(&self, processes: &[Pid]) -> HashMap<u64, String> {
        let mut names = HashMap::new();
        for &pid in processes {
            let Some(inode) = facts::uts_namespace(pid).filter(|inode| !names.contains_key(inode)) else { continue };
            if names.len() == MOST_HOSTNAMES {
                break;
            }
            let Ok(namespace) = File::open(format!("/proc/{pid}/ns/uts")) else { continue };
            // Where it has ended meanwhile there is nothing to tell.
            names.insert(inode, self.zygote.hostname(namespace).await.unwrap_or_default());
        }
        names
    }
}
