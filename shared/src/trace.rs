//! The calls that make containers, as the lab has seen them: what a program asked for, what came of it, and which rows of
//! which mount tables it made. The words are the lab's; the page only shows them.

use serde::{Deserialize, Serialize};

use crate::mount::{Mount, MountId, PeerGroup};
use crate::protocol::{Process, ViewId};

/// A call, numbered from 0 in the order of being made, never used again within a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// A system call of a learner's program. It is told when it begins, and again, whole, whenever something of it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its number.
    pub id: CallId,
    /// When it was made, in milliseconds since the Unix epoch by the lab's clock.
    pub at: u64,
    /// Who made it; the program's name is the one before an execve(2).
    pub process: Process,
    /// The mount namespace it was made in, as [`crate::protocol::View::ordinal`]; `None` where it is not known.
    pub ordinal: Option<u32>,
    /// The call's name: `mount`, of which mount(2) tells.
    pub name: String,
    /// What sort of call it is, by which the page filters.
    pub kind: CallKind,
    /// Its arguments, in the manual's order.
    pub arguments: Vec<Argument>,
    /// What it is about to do, in one sentence.
    pub about: String,
    /// The line of the taught runtime that makes it, where that is who makes it.
    pub line: Option<CodeLine>,
    /// How far it has come.
    pub state: CallState,
    /// What the learner should know of its effect, each in a sentence or two: it succeeded and changed nothing, its mount
    /// propagated to another namespace, the root changed and the working directory did not.
    pub warnings: Vec<String>,
    /// What it changed in the mount tables; empty until it has returned.
    pub changes: Vec<Change>,
}

/// Sorts of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// clone(2) with namespace flags, unshare(2), setns(2).
    Namespace,
    /// mount(2), umount2(2) and the calls that took their place since Linux 5.2.
    Mount,
    /// chroot(2), pivot_root(2).
    Root,
    /// execve(2), execveat(2).
    Program,
    /// sethostname(2).
    Name,
    /// Calls of the taught runtime that make no container and only show where it is: connect(2), rename(2), open(2) of a
    /// file without a name.
    Step,
}

/// An argument of a call, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// The manual's name for it: `mountflags`.
    pub name: String,
    /// As a C programmer would write it: `MS_REC | MS_PRIVATE`, `"/proc"`, `NULL`. Text of the program's is quoted, and
    /// what cannot be read says so in words.
    pub value: String,
}

/// A line of the taught runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeLine {
    /// The file in `server/src/runtime`, as [`crate::lesson::SourceFile::name`].
    pub file: String,
    /// The step it belongs to, as [`crate::lesson::CodeStep::name`]; `None` between the steps.
    pub step: Option<String>,
    /// Its number in the file, from 1.
    pub line: u32,
}

/// How far a call has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CallState {
    /// It is stopped before the kernel sees it, until somebody says [`crate::protocol::ToLab::Next`].
    Waiting,
    /// The kernel has it.
    Made,
    /// It succeeded.
    Returned {
        /// What it returned.
        value: i64,
    },
    /// It failed.
    Failed {
        /// The errno's name: `EINVAL`.
        errno: String,
        /// What that says by itself: `Invalid argument`.
        words: String,
        /// Why, from what was the case at that moment; `None` where the errno's own words are all there is to say.
        why: Option<String>,
    },
    /// It was made, and its result could not be seen.
    Unseen {
        /// Why not: "a debugger holds the thread".
        why: String,
    },
    /// The program was ended before the call was, or while it waited.
    Ended,
}

/// What a call changed in one view's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whose table.
    pub view: ViewId,
    /// Rows that came.
    pub came: Vec<MountId>,
    /// Rows whose fields changed, as they were before.
    pub changed: Vec<Mount>,
    /// Rows that went, as they were.
    pub went: Vec<Mount>,
    /// The peer group that carried the change here from another namespace, where one did.
    pub carried_by: Option<PeerGroup>,
    /// Whether there is more than is told: each list holds [`MOST_CHANGES`] rows at most.
    pub cut: bool,
}

/// Where a row of a mount table comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The call that made it. It may be forgotten by now, so its essentials are here.
    pub call: CallId,
    /// [`Call::at`].
    pub at: u64,
    /// [`Call::name`].
    pub name: String,
    /// [`Call::process`].
    pub process: Process,
    /// [`Call::line`].
    pub line: Option<CodeLine>,
    /// What carried it here from another namespace, if it was made there.
    pub carried_by: Option<PeerGroup>,
    /// Whether it is a copy that came with its namespace (`clone`, `unshare`), not a mount of its own.
    pub copied: bool,
}

/// The lab and the page keep as many calls, the newest.
pub const MOST_CALLS: usize = 500;

/// See [`Change::cut`].
pub const MOST_CHANGES: usize = 64;
