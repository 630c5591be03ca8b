//! What the page knows, as signals that the panes read. Messages come in here; nothing goes out from here.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;
use shared::lesson::{Lesson, SourceFile, Step};
use shared::progress::{Count, Place, Progress, further};
use shared::protocol::{EndCause, Limits, Terminal, TerminalId, ToPage, Used, ViewId};
use shared::task::TaskState;
use shared::timeline::Timeline;
use shared::trace::{Call, CallId};

use crate::address::Address;
use crate::tables::Tables;

/// How long it is news that a task is done.
const NEWS: Duration = Duration::from_secs(5);

/// How the page stands with its lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// For the first time, or with a new machine.
    Connecting,
    /// Greeted.
    Open,
    /// It broke or could not be made, and is tried again.
    Lost,
    /// The lab is no more; only a new machine helps.
    Ended,
    /// There is no place for one more lab.
    Full,
    /// There is no lab, or none that answers.
    NoLab,
}

/// The panes, in the order of the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// The prose of the step.
    Lesson,
    /// The taught code.
    Code,
    /// The terminals.
    Terminals,
    /// The mount tables.
    Mounts,
    /// The calls that were seen.
    Calls,
}

/// What has to be fetched before it can be shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded<T> {
    /// On its way.
    Waiting,
    /// Here.
    Here(T),
    /// It could not be had.
    Failed,
}

/// What the page knows.
#[derive(Clone, Copy)]
pub struct Model {
    /// How the page stands with its lab.
    pub connection: RwSignal<Connection>,
    /// The reason that was given where a connection is not to be had.
    pub reason: RwSignal<String>,
    /// What the lab may use, and what it uses.
    pub limits: RwSignal<Option<(Limits, Used)>>,
    /// When the lab will end by itself, by the clock of [`Model::now`], and what brings that.
    pub end: RwSignal<Option<(f64, EndCause)>>,
    /// The lab's terminals, in the order of their tabs.
    pub terminals: RwSignal<Vec<Terminal>>,
    /// The terminal in front: the one that was used last. Changed by [`Model::bring`].
    pub front: RwSignal<Option<TerminalId>>,
    /// The one that was in front before.
    beside: RwSignal<Option<TerminalId>>,
    /// The mount tables.
    pub tables: RwSignal<Tables>,
    /// The calls that were seen.
    pub calls: RwSignal<Timeline>,
    /// The newest of them that was made before this page looked.
    pub past: RwSignal<Option<CallId>>,
    /// Those of them that there is something to say about which the learner should know.
    pub warned: Memo<HashSet<CallId>>,
    /// Whether calls wait before they are made.
    pub step_through: RwSignal<bool>,
    /// The process whose call is stepped through, where several wait.
    pub stepped: RwSignal<Option<u32>>,
    /// The call that is opened in the list of calls.
    pub opened: RwSignal<Option<CallId>>,
    /// All lessons.
    pub lessons: RwSignal<Loaded<Vec<Lesson>>>,
    /// What is wrong with a lesson that its author has just saved, where they try lessons out.
    pub fault: RwSignal<Option<String>>,
    /// The states of their tasks and quizzes.
    pub progress: RwSignal<Progress>,
    /// Tasks and quizzes that were done just now.
    pub just_done: RwSignal<Vec<String>>,
    /// The taught code.
    pub sources: RwSignal<Loaded<Vec<SourceFile>>>,
    /// The step that the page's address names.
    pub address: RwSignal<Address>,
    /// The pane in front, where there is room for one only.
    pub pane: RwSignal<Pane>,
    /// Of mount tables and calls, which share a place, the one that was in front last.
    pub lowest: Memo<Pane>,
    /// The time, to the second, in milliseconds since 1970.
    pub now: RwSignal<f64>,
}

impl Model {
    /// A model that knows nothing yet, and a clock that runs.
    pub fn new() -> Model {
        let calls = RwSignal::new(Timeline::default());
        let pane = RwSignal::new(Pane::Lesson);
        let lowest = move |last: Option<&Pane>| match pane.get() {
            pane @ (Pane::Mounts | Pane::Calls) => pane,
            _ => last.copied().unwrap_or(Pane::Mounts),
        };
        let model = Model {
            connection: RwSignal::new(Connection::Connecting),
            reason: RwSignal::new(String::new()),
            limits: RwSignal::new(None),
            end: RwSignal::new(None),
            terminals: RwSignal::new(Vec::new()),
            front: RwSignal::new(None),
            beside: RwSignal::new(None),
            tables: RwSignal::new(Tables::default()),
            calls,
            warned: Memo::new(move |_| calls.with(|calls| calls.warned().collect())),
            past: RwSignal::new(None),
            step_through: RwSignal::new(false),
            stepped: RwSignal::new(None),
            opened: RwSignal::new(None),
            lessons: RwSignal::new(Loaded::Waiting),
            fault: RwSignal::new(None),
            progress: RwSignal::new(Progress::default()),
            just_done: RwSignal::new(Vec::new()),
            sources: RwSignal::new(Loaded::Waiting),
            address: RwSignal::new(Address::current()),
            pane,
            lowest: Memo::new(lowest),
            now: RwSignal::new(js_sys::Date::now()),
        };
        set_interval(move || model.tick(js_sys::Date::now()), Duration::from_secs(1));
        window_event_listener(leptos::ev::hashchange, move |_| model.address.set(Address::current()));
        model
    }

    fn tick(self, now: f64) {
        self.now.set(now);
        // While a call waits, what the one before it did stays marked.
        let stepping = self.calls.with_untracked(|calls| calls.waiting().next().is_some());
        if !stepping && self.tables.with_untracked(|tables| tables.has_aged(now)) {
            self.tables.update(|tables| tables.age(now));
        }
    }

    /// Takes in what the lab says.
    pub fn receive(self, message: ToPage) {
        let now = js_sys::Date::now();
        // A mark must not lie in the future of the clock that tells its age.
        self.now.set(now);
        match message {
            ToPage::Hello { terminals, .. } => self.greeted(terminals),
            ToPage::Terminal { terminal } => {
                self.terminals.update(|terminals| match terminals.iter_mut().find(|known| known.id == terminal.id) {
                    Some(known) => *known = terminal,
                    None => terminals.push(terminal),
                })
            }
            ToPage::View { view, rows, more } => self.tables.update(|tables| tables.view(view, rows, more, now)),
            ToPage::Rest { view, rows, more } => self.tables.update(|tables| tables.rest(view, rows, more, now)),
            ToPage::NotShown { views, processes } => self.tables.update(|tables| tables.not_shown = (views, processes)),
            ToPage::Rows { view, diff } => self.tables.update(|tables| tables.rows(view, diff, now)),
            ToPage::ViewGone { view } => self.tables.update(|tables| tables.gone(view, now)),
            ToPage::Limits { limits, used } => self.limits.set(Some((limits, used))),
            ToPage::Ends { in_seconds, why } => self.end.set(Some((now + 1000.0 * in_seconds as f64, why))),
            ToPage::Stays => self.end.set(None),
            ToPage::TerminalGone { terminal } => {
                self.terminals.update(|terminals| terminals.retain(|known| known.id != terminal));
                self.choose_front();
            }
            // The screens' and the outbox's business.
            ToPage::Skip { .. } | ToPage::Taken { .. } | ToPage::Ownership { .. } => {}
            ToPage::Tasks { tasks } => self.progressed(tasks),
            ToPage::Calls { calls } => self.calls.update(|timeline| timeline.take(calls)),
            ToPage::Origins { view, rows } => self.tables.update(|tables| tables.origins(view, rows)),
            ToPage::StepThrough { on } => self.step_through.set(on),
        }
    }

    fn greeted(self, terminals: Vec<Terminal>) {
        self.connection.set(Connection::Open);
        self.end.set(None);
        self.terminals.set(terminals);
        self.choose_front();
        self.tables.update(Tables::greeted);
        // Views and calls follow the greeting at once, but nothing says which is the last. Old cards stay until then, so
        // that a short loss of the connection does not make the pane flicker.
        let settle = move || {
            self.tables.update(Tables::settle);
            self.past.set(self.calls.with_untracked(Timeline::newest));
        };
        set_timeout(settle, Duration::from_millis(400));
    }

    fn progressed(self, states: Vec<TaskState>) {
        let news = self.progress.try_update(|progress| progress.take(states)).unwrap_or_default();
        if !news.is_empty() {
            self.just_done.update(|known| known.extend(news.iter().cloned()));
            set_timeout(move || self.just_done.update(|known| known.retain(|id| !news.contains(id))), NEWS);
        }
    }

    /// How many terminals there may be; as many as anybody likes while nothing is known of the limits.
    pub fn most_terminals(self) -> usize {
        self.limits.with(|limits| limits.as_ref().map_or(usize::MAX, |(limits, _)| limits.terminals as usize))
    }

    /// Brings a terminal to the front.
    pub fn bring(self, id: TerminalId) {
        let before = self.front.get_untracked();
        if before != Some(id) {
            self.front.set(Some(id));
            self.beside.set(before);
        }
    }

    /// The terminal that is shown beside the one in front: the one that was in front before, or else the first other.
    pub fn beside(self) -> Option<TerminalId> {
        let (front, beside) = (self.front.get(), self.beside.get());
        self.terminals.with(|terminals| {
            let mut others = terminals.iter().map(|terminal| terminal.id).filter(|id| Some(*id) != front);
            others.clone().find(|id| Some(*id) == beside).or_else(|| others.next())
        })
    }

    /// When the terminal in front has gone, the one beside it comes to the front.
    fn choose_front(self) {
        let front = self.front.get_untracked();
        if self.terminals.with_untracked(|terminals| terminals.iter().all(|terminal| Some(terminal.id) != front)) {
            self.front.set(untrack(|| self.beside()));
        }
    }

    /// The name for the next terminal: that of a lesson's terminal which was closed, or none.
    pub fn missing_terminal(self) -> Option<String> {
        let is_open = |name: &str| self.terminals.with_untracked(|all| all.iter().any(|one| one.name == name));
        shared::lesson::TERMINALS.into_iter().find(|name| !is_open(name)).map(str::to_owned)
    }

    /// Forgets a machine that has ended. Terminals stay, for the next one has the same.
    pub fn forget_machine(self) {
        self.connection.set(Connection::Connecting);
        self.limits.set(None);
        self.tables.set(Tables::default());
        self.calls.set(Timeline::default());
        self.past.set(None);
        self.step_through.set(false);
    }

    /// The call that the learner lets go next: one of the process they are stepping through, or else the one that waits
    /// longest.
    pub fn front(self) -> Option<Arc<Call>> {
        let stepped = self.stepped.get();
        self.calls.with(|calls| {
            let of_stepped = calls.waiting().find(|call| Some(call.process.pid) == stepped);
            of_stepped.or_else(|| calls.waiting().next()).cloned()
        })
    }

    /// The number of a view's mount namespace, which chooses its colour.
    pub fn ordinal(self, view: Option<ViewId>) -> Option<u32> {
        self.tables.with(|tables| tables.card(view?).map(|card| card.view.ordinal))
    }

    /// The terminal of this name.
    pub fn terminal_named(self, name: &str) -> Option<Terminal> {
        self.terminals.with(|terminals| terminals.iter().find(|terminal| terminal.name == name).cloned())
    }

    /// The lesson of the address and the index of its step; the first ones where it names none.
    pub fn place(self) -> Option<(Lesson, usize)> {
        self.with_place(|lessons, place| (lessons[place.lesson].clone(), place.step))
    }

    /// What is told of all lessons and the step of the address; `None` while there are no lessons.
    pub fn with_place<T>(self, tell: impl FnOnce(&[Lesson], Place) -> T) -> Option<T> {
        let address = self.address.get();
        self.lessons.with(|lessons| {
            let Loaded::Here(lessons) = lessons else { return None };
            let lesson = lessons.iter().position(|lesson| lesson.slug == address.lesson).unwrap_or(0);
            let steps = &lessons.get(lesson)?.steps;
            let step = steps.iter().position(|step| step.slug == address.step).unwrap_or(0);
            Some(tell(lessons, Place { lesson, step }))
        })
    }

    /// How many tasks of a lesson are done, or of one of its steps.
    pub fn done(self, lesson: usize, step: Option<usize>) -> Count {
        self.lessons.with(|lessons| {
            let Loaded::Here(lessons) = lessons else { return Count::default() };
            let Some(lesson) = lessons.get(lesson) else { return Count::default() };
            self.progress.with(|progress| match step {
                Some(step) => lesson.steps.get(step).map(|step| progress.of_step(step)).unwrap_or_default(),
                None => progress.of_lesson(lesson),
            })
        })
    }

    /// Goes some steps on, or back where `by` is negative, into other lessons too, and stays where there is none.
    pub fn turn(self, by: isize) {
        let address = |lessons: &[Lesson], place: Place| {
            let lesson = &lessons[place.lesson];
            Some((lesson.slug.clone(), lesson.steps.get(place.step)?.slug.clone()))
        };
        let there = |lessons: &[Lesson], place| further(lessons, place, by).and_then(|place| address(lessons, place));
        if let Some((lesson, step)) = untrack(|| self.with_place(there)).flatten() {
            Address::go(&lesson, &step);
            // The browser tells it in a moment, and the next key may come before that.
            self.address.set(Address::current());
        }
    }

    /// The step of the address.
    pub fn step(self) -> Option<Step> {
        let (lesson, step) = self.place()?;
        lesson.steps.get(step).cloned()
    }
}
