//! How the page says what calls are, what came of them, and what they did to the mount tables.

use std::sync::Arc;

use js_sys::Date;
use shared::mount::Mount;
use shared::plain::plain;
use shared::protocol::{Process, ViewId};
use shared::tables::differing;
use shared::timeline::Timeline;
use shared::trace::{Call, CallKind, CallState, Change, CodeLine, Origin};
use wasm_bindgen::JsValue;

use super::mounts::{card, field, value};
use crate::tables::Tables;

/// The sorts of calls, in the order of their buttons.
pub const KINDS: [(CallKind, &str, &str); 6] = [
    (CallKind::Namespace, "namespaces", "clone, unshare and setns: who gets namespaces of their own"),
    (CallKind::Mount, "mounts", "mount, umount2 and what took their place: what is attached where"),
    (CallKind::Root, "roots", "chroot and pivot_root: where paths begin"),
    (CallKind::Program, "programs", "execve: which program a process becomes"),
    (CallKind::Name, "names", "sethostname"),
    (CallKind::Step, "steps", "connect, open and rename of newroot itself: how far a pull is"),
];

/// A state as the attribute that style sheet and tests read.
pub fn state_name(state: &CallState) -> &'static str {
    match state {
        CallState::Waiting => "waiting",
        CallState::Made => "made",
        CallState::Returned { .. } => "returned",
        CallState::Failed { .. } => "failed",
        CallState::Unseen { .. } => "unseen",
        CallState::Ended => "ended",
    }
}

/// What came of a call, as short as it goes.
pub fn result(state: &CallState) -> String {
    match state {
        CallState::Waiting => "waits".to_owned(),
        CallState::Made => "is made".to_owned(),
        CallState::Returned { value } => format!("= {value}"),
        CallState::Failed { errno, .. } => errno.clone(),
        CallState::Unseen { .. } => "= ?".to_owned(),
        CallState::Ended => "ended".to_owned(),
    }
}

/// What is to be said of that besides; empty for a call that did what it should.
pub fn reason(state: &CallState) -> String {
    match state {
        CallState::Waiting | CallState::Made | CallState::Returned { .. } => String::new(),
        CallState::Failed { words, why: Some(why), .. } => format!("{words}: {}", plain(why)),
        CallState::Failed { words, why: None, .. } => words.clone(),
        CallState::Unseen { why } => format!("The result could not be seen: {}", plain(why)),
        CallState::Ended => "The program was ended before it could make the call.".to_owned(),
    }
}

/// A call as a C programmer would write it.
pub fn call(call: &Call) -> String {
    let arguments: Vec<String> = call.arguments.iter().map(|argument| plain(&argument.value)).collect();
    format!("{}({})", call.name, arguments.join(", "))
}

/// A process: `newroot(12)`.
pub fn who(process: &Process) -> String {
    format!("{}({})", plain(&process.program), process.pid)
}

/// The manual's page: `mount(2)`.
pub fn manual(name: &str) -> String {
    format!("{name}(2)")
}

/// A line of the runtime: `root.rs:28`.
pub fn line(line: &CodeLine) -> String {
    format!("{}:{}", line.file, line.line)
}

/// A time of the day, to the millisecond.
pub fn time(at: u64) -> String {
    let date = Date::new(&JsValue::from_f64(at as f64));
    let (hours, minutes, seconds) = (date.get_hours(), date.get_minutes(), date.get_seconds());
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", date.get_milliseconds())
}

/// What calls did to the tables, in one line: `2 rows came in host, 1 changed in sh 1`.
pub fn changes(tables: &Tables, call: &Call) -> String {
    let said = call.changes.iter().filter_map(|change| {
        let counts = [(change.came.len(), "came"), (change.changed.len(), "changed"), (change.went.len(), "went")];
        let mut words: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        let first = words.first_mut()?;
        let rows = if first.starts_with("1 ") { "row" } else { "rows" };
        *first = first.replacen(' ', &format!(" {rows} "), 1);
        Some(format!("{} in {}", words.join(", "), view(tables, change.view)))
    });
    said.collect::<Vec<_>>().join("; ")
}

/// A row that a call changed, as it is told.
#[derive(Clone, PartialEq)]
pub struct ChangedRow {
    /// `new`, `changed` or `gone`, as with the rows of the tables.
    pub state: &'static str,
    /// Its mount point.
    pub mount_point: String,
    /// What it is, or what of it is other than before.
    pub text: String,
}

/// What a call changed in one table: the table's name, what carried it there, and the rows.
pub fn change(tables: &Tables, timeline: &Timeline, call: &Call, change: &Change) -> (String, String, Vec<ChangedRow>) {
    let now = |id| tables.card(change.view).and_then(|card| card.mounts().find(|mount| mount.id == id));
    let after = |id| timeline.row_after(call.id, change.view, id, now(id));
    let told = |state, mount: &Mount, text| ChangedRow { state, mount_point: plain(&mount.mount_point), text };
    let what = |mount: &Mount| format!("{}, {}", mount.fs_type, super::propagation(&mount.propagation));
    let came = change.came.iter().map(|id| match after(*id) {
        Some(mount) => told("new", &mount, what(&mount)),
        None => ChangedRow { state: "new", mount_point: format!("mount {}", id.0), text: "gone since".to_owned() },
    });
    let changed = change.changed.iter().map(|before| {
        let text = match after(before.id) {
            Some(after) => difference(before, &after),
            None => format!("{} before; gone since", what(before)),
        };
        told("changed", before, text)
    });
    let went = change.went.iter().map(|mount| told("gone", mount, what(mount)));
    let mut rows: Vec<ChangedRow> = came.chain(changed).chain(went).collect();
    if change.cut {
        rows.push(ChangedRow { state: "", mount_point: "…".to_owned(), text: "and more".to_owned() });
    }
    let carried = change.carried_by.map(|group| format!("carried there by peer group {}", group.0));
    (view(tables, change.view), carried.unwrap_or_default(), rows)
}

fn difference(before: &Mount, after: &Mount) -> String {
    let moved = (before.mount_point != after.mount_point).then(|| format!("moved to {}", plain(&after.mount_point)));
    let hung = (before.parent != after.parent).then(|| format!("on mount {} → {}", before.parent.0, after.parent.0));
    let differs = differing(before, after).into_iter();
    let fields =
        differs.map(|differs| format!("{} {} → {}", field(differs), value(before, differs), value(after, differs)));
    moved.into_iter().chain(fields).chain(hung).collect::<Vec<_>>().join("; ")
}

fn view(tables: &Tables, id: ViewId) -> String {
    tables.card(id).map_or_else(|| "a table that is gone".to_owned(), card)
}

/// Where a row comes from, and what that means.
pub fn origin(origin: &Origin) -> (String, String) {
    let Origin { at, name, process, carried_by, copied, .. } = origin;
    let made = format!("{} by {} at {}", manual(name), who(process), time(*at));
    let meaning = match (carried_by, copied) {
        (_, true) => "It was copied with its namespace from the table of the caller.".to_owned(),
        (Some(group), false) => format!(
            "It was mounted in another namespace; peer group {} carried it here, for the mount it hangs below is in it.",
            group.0
        ),
        (None, false) => "It was mounted here.".to_owned(),
    };
    (made, meaning)
}

/// The latest call that failed or that there is a warning about, for a screen reader.
pub fn latest(calls: &[Arc<Call>]) -> String {
    let told = |call: &Arc<Call>| match (&call.state, call.warnings.first()) {
        (CallState::Failed { errno, .. }, _) => {
            Some(format!("{} of {} failed with {errno}. {}", call.name, who(&call.process), reason(&call.state)))
        }
        (_, Some(warning)) => Some(format!("{} of {}: {}", call.name, who(&call.process), plain(warning))),
        _ => None,
    };
    calls.iter().rev().find_map(told).unwrap_or_default()
}
