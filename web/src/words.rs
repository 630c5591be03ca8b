//! How the page says things: the words for states, marks and kernel fields, in one place so that they stay alike.

use shared::mount::{Mount, Propagation};
use shared::protocol::View;

use crate::model::Connection;
use crate::tables::Mark;

/// The connection as the attribute that style sheet and tests read.
pub fn connection_name(connection: Connection) -> &'static str {
    match connection {
        Connection::Connecting => "connecting",
        Connection::Open => "open",
        Connection::Lost => "lost",
        Connection::Ended => "ended",
        Connection::Full => "full",
        Connection::NoLab => "no-lab",
    }
}

/// The connection in quiet words.
pub fn connection(connection: Connection) -> &'static str {
    match connection {
        Connection::Connecting => "starting your machine",
        Connection::Open => "connected",
        Connection::Lost => "no connection, trying again",
        Connection::Ended => "this machine has ended",
        Connection::Full => "the room is full",
        Connection::NoLab => "no machine",
    }
}

/// A mark as a word, which is also the attribute that style sheet and tests read.
pub fn mark_name(mark: Mark) -> &'static str {
    match mark {
        Mark::None => "",
        Mark::New(_) => "new",
        Mark::Changed(_) => "changed",
        Mark::Gone(_) => "gone",
    }
}

/// How long ago what a mark tells of happened, to go on after the mark's name; empty where it does not matter.
pub fn mark_age(mark: Mark, now: f64) -> String {
    match mark {
        Mark::New(at) | Mark::Changed(at) => match ((now - at) / 1000.0).max(0.0) as u32 {
            0 => ", now".to_owned(),
            seconds => format!(", {seconds} s ago"),
        },
        Mark::None | Mark::Gone(_) => String::new(),
    }
}

/// A propagation type as mountinfo spells it, or `private`.
pub fn propagation(propagation: &Propagation) -> String {
    let mut words = Vec::new();
    if let Some(group) = propagation.shared {
        words.push(format!("shared:{}", group.0));
    }
    if let Some(group) = propagation.master {
        words.push(format!("master:{}", group.0));
    }
    if propagation.unbindable {
        words.push("unbindable".to_owned());
    }
    if words.is_empty() { "private".to_owned() } else { words.join(" ") }
}

/// What a propagation type means, for whoever rests the pointer on it.
pub fn propagation_meaning(propagation: &Propagation) -> &'static str {
    match (propagation.shared, propagation.master) {
        (Some(_), Some(_)) => "receives mounts from its master, and shares its own with its peer group",
        (Some(_), None) => "mounts made below it appear at every mount of its peer group, and theirs appear here",
        (None, Some(_)) => "receives mounts from its master's peer group, and sends none back",
        (None, None) if propagation.unbindable => "keeps its mounts to itself, and cannot be bind mounted",
        (None, None) => "keeps its mounts to itself",
    }
}

/// What a view is called: the host, or its eldest program.
pub fn view(view: &View) -> String {
    match view.processes.first() {
        _ if view.ordinal == 0 => "host".to_owned(),
        Some(eldest) => eldest.program.clone(),
        None => "mount namespace".to_owned(),
    }
}

/// A view's processes as `sh(57)`, eldest first.
pub fn processes(view: &View) -> String {
    let names: Vec<String> =
        view.processes.iter().map(|process| format!("{}({})", process.program, process.pid)).collect();
    names.join(" ")
}

/// What a mount point shows before its own name: the mount point it hangs below.
pub fn prefix<'a>(mount: &'a Mount, parent: Option<&Mount>) -> &'a str {
    let above = parent.map_or("", |parent| parent.mount_point.trim_end_matches('/'));
    match mount.mount_point.strip_prefix(above) {
        Some(rest) if rest.len() > 1 && rest.starts_with('/') => &mount.mount_point[..above.len() + 1],
        _ => "",
    }
}
