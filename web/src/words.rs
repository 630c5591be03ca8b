//! How the page says things: the words for states, marks and kernel fields, in one place so that they stay alike.

pub mod calls;
pub mod mounts;

use shared::mount::{Mount, Propagation};
use shared::plain::plain;
use shared::progress::Count;
use shared::protocol::{EndCause, Exit, View};

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

/// What becomes of a lab, and what helps.
pub fn end_cause(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Idle => "press a key in a terminal to keep it",
        EndCause::Lifetime => "its time is over then; save what you need",
    }
}

/// A time to come, in words that do not change each second until they have to.
pub fn time_left(seconds: f64) -> String {
    match seconds.max(0.0) {
        seconds if seconds > 90.0 => format!("{:.0} minutes", (seconds / 60.0).ceil()),
        seconds => format!("{seconds:.0} seconds"),
    }
}

/// How a shell ended.
pub fn exit(exit: Option<Exit>) -> String {
    match exit {
        None | Some(Exit::Status(0)) => "The shell has ended.".to_owned(),
        Some(Exit::Status(status)) => format!("The shell has ended with exit status {status}."),
        Some(Exit::Signal(number)) => {
            const NAMES: [(i32, &str); 8] = [
                (1, "SIGHUP"),
                (2, "SIGINT"),
                (3, "SIGQUIT"),
                (6, "SIGABRT"),
                (9, "SIGKILL"),
                (11, "SIGSEGV"),
                (13, "SIGPIPE"),
                (15, "SIGTERM"),
            ];
            let name = NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| format!(" ({name})"));
            format!("The shell was ended by signal {number}{}.", name.unwrap_or_default())
        }
    }
}

/// So many tasks of so many.
pub fn tally(count: Count) -> String {
    format!("{} of {}", count.done, count.all)
}

/// How much of a lesson is done, after one more task.
pub fn so_far(count: Count) -> String {
    if count.is_complete() {
        "All of this lesson is done.".to_owned()
    } else {
        format!("{} in this lesson.", tally(count))
    }
}

/// A lesson's number: the figures that its folder's name begins with.
pub fn number(slug: &str) -> &str {
    slug.split('-').next().unwrap_or_default()
}

/// The text of a lesson's HTML, for where only text can be.
pub fn of_html(html: &str) -> String {
    let Ok(holder) = leptos::prelude::document().create_element("div") else { return String::new() };
    // The server makes this HTML and lets no script, style or raw HTML of an author's through.
    holder.set_inner_html(html);
    holder.text_content().unwrap_or_default().trim().to_owned()
}

/// So many bytes, for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..1000 => format!("{count} bytes"),
        1000..1_000_000 => format!("{:.0} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
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
    if let Some(group) = propagation.propagate_from {
        words.push(format!("propagate_from:{}", group.0));
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
        Some(eldest) => plain(&eldest.program),
        None => "mount namespace".to_owned(),
    }
}

/// A view's processes as `sh(57)`, eldest first.
pub fn processes(view: &View) -> String {
    let names: Vec<String> =
        view.processes.iter().map(|process| format!("{}({})", plain(&process.program), process.pid)).collect();
    match view.more_processes {
        0 => names.join(" "),
        more => format!("{} and {more} more", names.join(" ")),
    }
}

/// What a mount point shows before its own name: the mount point it hangs below.
pub fn prefix<'a>(mount: &'a Mount, parent: Option<&Mount>) -> &'a str {
    let above = parent.map_or("", |parent| parent.mount_point.trim_end_matches('/'));
    match mount.mount_point.strip_prefix(above) {
        Some(rest) if rest.len() > 1 && rest.starts_with('/') => &mount.mount_point[..above.len() + 1],
        _ => "",
    }
}
