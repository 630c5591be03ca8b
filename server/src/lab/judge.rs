//! The thread that judges a lab's checks: it reads the rest of the facts and evaluates expressions, beside the event loop, so
//! that terminals answer however long that takes. It is there from the start, for a learner can use up all processes that
//! the lab may have; and it gives way to the event loop where both would run.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::sync::{OwnedMutexGuard, oneshot};

use super::facts::{Digests, Seen, gather};
use crate::checks::{Check, Document, Expression, Facts, compile};
use crate::sys;

/// Steps that all expressions together may take at one look.
const STEPS: u64 = 100_000;
/// How far the thread gives way (setpriority(2)).
const NICENESS: i32 = 10;

/// The way to the thread.
pub struct Judge(mpsc::Sender<Request>);

enum Request {
    Checks(Vec<Check>),
    Look { seen: Box<Seen>, open: Vec<usize>, looking: OwnedMutexGuard<()>, answer: oneshot::Sender<Option<Judgement>> },
}

/// What came of a look.
pub struct Judgement {
    /// What was looked at.
    pub facts: Facts,
    /// What is true of the checks that were asked about, by their places in the list.
    pub verdicts: Vec<(usize, Verdict)>,
}

/// What is true of a check.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether its condition holds.
    pub when: bool,
    /// The numbers of the hints that fit.
    pub hints: Vec<usize>,
    /// The numbers of a quiz's options that are true; `None` where that cannot be told of each.
    pub truth: Option<Vec<u32>>,
}

impl Judge {
    /// Starts the thread, without any checks. It ends with the event loop.
    pub fn start() -> io::Result<Judge> {
        let (sender, requests) = mpsc::channel();
        thread::Builder::new().name("judge".into()).spawn(move || {
            if let Err(error) = sys::be_nice(NICENESS) {
                tracing::warn!("the checks are judged at full priority: {error}");
            }
            serve(&requests, Vec::new());
        })?;
        Ok(Judge(sender))
    }

    /// There are other checks from now on.
    pub fn set_checks(&self, checks: Vec<Check>) {
        // The thread lives as long as this sender.
        let _ = self.0.send(Request::Checks(checks));
    }

    /// Looks at the machine and judges the checks in these places; `None` where there is more than is looked at. While files
    /// of the machine are open, `looking` is held.
    pub async fn look(&self, seen: Seen, open: Vec<usize>, looking: OwnedMutexGuard<()>) -> Option<Judgement> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Request::Look { seen: Box::new(seen), open, looking, answer });
        answered.await.ok().flatten()
    }
}

/// A check whose expressions are compiled; one that does not compile is never true.
struct Compiled {
    when: Option<Expression>,
    hints: Vec<Option<Expression>>,
    options: Vec<Option<Expression>>,
}

impl Compiled {
    fn new(check: &Check) -> Compiled {
        let compiled = |expression: &String| compile(expression).ok();
        Compiled {
            when: compiled(&check.when),
            hints: check.hints.iter().map(|hint| compiled(&hint.when)).collect(),
            options: check.options.iter().map(compiled).collect(),
        }
    }

    fn judge(&self, document: &Document) -> Verdict {
        let holds = |expression: &Option<Expression>| expression.as_ref()?.holds(document).ok();
        let when = holds(&self.when) == Some(true);
        let hints = self.hints.iter().enumerate().filter(|(_, hint)| !when && holds(hint) == Some(true));
        let options = || {
            let truths = self.options.iter().map(&holds).collect::<Option<Vec<bool>>>()?;
            Some((0..).zip(truths).filter(|(_, truth)| *truth).map(|(number, _)| number).collect())
        };
        Verdict { when, hints: hints.map(|(number, _)| number).collect(), truth: options() }
    }
}

fn serve(requests: &mpsc::Receiver<Request>, checks: Vec<Check>) {
    let compile_all = |checks: Vec<Check>| checks.iter().map(Compiled::new).collect::<Vec<_>>();
    let mut checks = compile_all(checks);
    let mut digests = Digests::default();
    while let Ok(request) = requests.recv() {
        match request {
            Request::Checks(new) => checks = compile_all(new),
            Request::Look { seen, open, looking, answer } => {
                let facts = gather(*seen, &mut digests).ok();
                drop(looking);
                let judgement = facts.map(|facts| {
                    let document = Document::new(&facts, STEPS);
                    let judged =
                        open.into_iter().filter_map(|place| Some((place, checks.get(place)?.judge(&document))));
                    Judgement { verdicts: judged.collect(), facts }
                });
                // Who asked may be gone, at the end of the lab.
                let _ = answer.send(judgement);
            }
        }
    }
}
