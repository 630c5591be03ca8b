//! What travels on the WebSocket between one page and its lab. Text frames carry a JSON [`ToLab`] or [`ToPage`];
//! binary frames carry the bytes of a terminal, laid out by [`Frame`].
//!
//! Several pages may be open on one lab, and all show the same. One of them is the *owner*: the page that greeted or
//! typed last. The terminals have the owner's sizes, and wait for the owner's acknowledgements; the others are
//! *viewers*, who show the owner's sizes and are skipped forward where they lag. When the owner goes, the one before
//! it is the owner again. When the last page goes, the terminals wait for it to come back for a minute, so that a lost
//! network costs no byte; then their programs run on, and whoever comes later sees the end of their output.

use serde::{Deserialize, Serialize};

use crate::mount::{Mount, MountId, TableDiff};
use crate::task::{Answer, TaskState};
use crate::trace::{Call, CallId, Origin};

/// How many bytes of a terminal's output may be on their way: sent, but not yet acknowledged by the page.
pub const WINDOW: u64 = 128 * 1024;

/// How many bytes the page lets xterm parse before it acknowledges them.
pub const ACKNOWLEDGE_EACH: u64 = 16 * 1024;

/// How many bytes of what a page has typed into a terminal may be on their way: sent, but not yet taken by the terminal
/// ([`ToPage::Taken`]). The rest of a large paste waits in the page, where it stands in no acknowledgement's way.
pub const INPUT_WINDOW: u64 = 64 * 1024;

/// How many bytes the lab lets a terminal take before it tells the page.
pub const TAKEN_EACH: u64 = 16 * 1024;

/// The keys that interrupt, quit and suspend: Ctrl-C, Ctrl-\ and Ctrl-Z. Typed by itself, such a key overtakes what the
/// page or the lab still has to type, and discards it, as the kernel discards what the program has not read (termios(3),
/// ISIG). Where the program has turned that off, the lab types the key like any other.
pub const INTERRUPTING_KEYS: [u8; 3] = [0x03, 0x1c, 0x1a];

/// The most characters of a terminal's name.
pub const LONGEST_NAME: usize = 24;
/// How many rows of a mount table one message carries, so that a large table leaves room for the terminals between.
pub const MOST_ROWS_AT_ONCE: usize = 256;

/// The WebSocket close code of a lab that has ended: the page offers a new machine instead of reconnecting.
pub const CLOSE_LAB_ENDED: u16 = 4000;

/// The close code where as many labs run as the server may have; the reason says so.
pub const CLOSE_ROOM_FULL: u16 = 4001;

/// The close code where there is a lab to be had, but it cannot be started, or does not answer; the reason says why.
pub const CLOSE_NO_LAB: u16 = 4002;

/// A terminal of a lab, numbered from 0 in the order of opening, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TerminalId(pub u32);

/// A place in a terminal's output: the number of bytes before it since the terminal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offset(pub u64);

/// A view, numbered from 0 in the order of appearance, never used again within a lab. The lab's own is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ViewId(pub u32);

/// A life of a lab, from its start to its end: random, so that a page that was away knows a new machine from its old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineId(pub String);

/// Characters across and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// From the page to its lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToLab {
    /// Always the first: how much of each terminal's output the page already shows. Output goes on from there.
    Hello {
        /// The machine whose output that is; `None` where the page shows none yet.
        machine: Option<MachineId>,
        /// Per terminal, the offset after the last byte received; a terminal left out is replayed from the ring's start.
        terminals: Vec<(TerminalId, Offset)>,
    },
    /// The page's terminal has a new size. Heeded from the owner alone.
    Resize {
        /// Which terminal.
        terminal: TerminalId,
        /// Its new size.
        size: Size,
    },
    /// xterm has parsed the output up to this offset; sent each [`ACKNOWLEDGE_EACH`] bytes and when output pauses.
    Acknowledge {
        /// Which terminal.
        terminal: TerminalId,
        /// Everything before it is parsed.
        offset: Offset,
    },
    /// Start a new shell in a terminal whose shell has exited. Its output goes on at the same offset.
    Restart {
        /// Which terminal.
        terminal: TerminalId,
    },
    /// Open another terminal. Ignored where there are as many as there may be.
    Open {
        /// Its name. The lab cleans it, and adds a number where it is taken; `None` is a name of the lab's choice.
        name: Option<String>,
    },
    /// Give a terminal another name, cleaned and numbered like a new one's. The lesson's terminals keep theirs.
    Rename {
        /// Which terminal.
        terminal: TerminalId,
        /// Its new name.
        name: String,
    },
    /// Close a terminal: the programs in it get SIGHUP, as when a terminal's window is closed.
    Close {
        /// Which terminal.
        terminal: TerminalId,
    },
    /// Remake the machine: its processes, mounts and files go. Terminals keep their places, and get new shells.
    Reset,
    /// Whether calls wait before they are made, from now on. For all pages of the lab; turned off, all that wait go on.
    StepThrough {
        /// Whether they wait.
        on: bool,
    },
    /// Let this call be made, which waits.
    Next {
        /// Which one.
        call: CallId,
    },
    /// Let this call be made, and all further calls of its process and of that one's descendants without waiting, until the
    /// process has ended.
    RunOn {
        /// Which call.
        call: CallId,
    },
    /// An answer to a quiz of a lesson.
    Answer {
        /// The quiz, as [`crate::lesson::Quiz::id`].
        quiz: String,
        /// What was answered.
        answer: Answer,
    },
}

/// From the lab to a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToPage {
    /// Always the first.
    Hello {
        /// [`crate::BUILD`] of the lab.
        build: String,
        /// The machine. Where it is not the one the page knows, nothing that the page shows is true any more, and all
        /// terminals are replayed.
        machine: MachineId,
        /// The machine's host name.
        hostname: String,
        /// All terminals, in the order of their tabs.
        terminals: Vec<Terminal>,
    },
    /// A terminal's state changed, or a terminal is new: then it stands behind the others.
    Terminal {
        /// Its state now.
        terminal: Terminal,
    },
    /// The page's offset is no longer (or not yet) in the ring: clear the screen, output goes on from here.
    Skip {
        /// Which terminal.
        terminal: TerminalId,
        /// The offset of the next byte that will come.
        offset: Offset,
    },
    /// A view appeared, with its whole table, or its processes changed (then `rows` is absent).
    View {
        /// The view.
        view: View,
        /// The rows of a new view, in the kernel's order: at most [`MOST_ROWS_AT_ONCE`] of them.
        rows: Option<Vec<Mount>>,
        /// Whether more of these rows follow, in [`ToPage::Rest`].
        more: bool,
    },
    /// Rows of a view changed.
    Rows {
        /// Which view.
        view: ViewId,
        /// What changed.
        diff: TableDiff,
    },
    /// The last process of a view has gone, and with it the view.
    ViewGone {
        /// Which view.
        view: ViewId,
    },
    /// The next rows of a new view whose table did not go into one message.
    Rest {
        /// Which view.
        view: ViewId,
        /// The rows that follow those already sent.
        rows: Vec<Mount>,
        /// Whether still more follow.
        more: bool,
    },
    /// There is more than the lab tells; sent when these numbers change, and all of them are 0 until the first time.
    NotShown {
        /// Pairs of mount namespace and root directory beyond the number of views that a lab keeps.
        views: u32,
        /// Whether there are more processes than the lab looks at.
        processes: bool,
    },
    /// A terminal was closed.
    TerminalGone {
        /// Which terminal.
        terminal: TerminalId,
    },
    /// A terminal has taken what this page typed into it; sent each [`TAKEN_EACH`] bytes.
    Taken {
        /// Which terminal.
        terminal: TerminalId,
        /// How many bytes, since the page greeted.
        offset: Offset,
    },
    /// Whether this page is the owner of the terminals. Told after the greeting, and when it changes.
    Ownership {
        /// A new owner tells the sizes of its terminals.
        owner: bool,
    },
    /// What the lab may use and what it uses; sent when that has changed visibly.
    Limits {
        /// What it may use.
        limits: Limits,
        /// What it uses.
        used: Used,
    },
    /// The lab will end by itself.
    Ends {
        /// How soon.
        in_seconds: u64,
        /// What brings the end.
        why: EndCause,
    },
    /// The end that was announced does not come.
    Stays,
    /// Calls that are new, or of which something changed; first of all, those that the lab remembers. In their order.
    Calls {
        /// Each as it is now.
        calls: Vec<Call>,
    },
    /// Where rows of a view come from. A row that is never named here was there before the lab could look.
    Origins {
        /// Which view.
        view: ViewId,
        /// Rows whose origin is new.
        rows: Vec<(MountId, Origin)>,
    },
    /// Whether calls wait before they are made. Told after the greeting, and when it changes.
    StepThrough {
        /// Whether they wait.
        on: bool,
    },
    /// How far this learner is with tasks and quizzes. Told after the greeting (all of them), and then what changes.
    Tasks {
        /// Each as it is now.
        tasks: Vec<TaskState>,
    },
}

/// What a lab may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, the files of its tmpfs mounts included.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Hundredths of one processor.
    pub cpu_percent: u64,
    /// Bytes that the files of its root directory may take up.
    pub disk: u64,
    /// Terminals that may be open at once.
    pub terminals: u32,
    /// It ends when nobody has used it for so long.
    pub idle_seconds: u64,
    /// It ends after this in any case.
    pub life_seconds: Option<u64>,
}

/// What a lab uses of its [`Limits`], more or less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Bytes of memory.
    pub memory: u64,
    /// Processes and threads, those that serve the lab included.
    pub processes: u64,
    /// Bytes of disk.
    pub disk: u64,
}

/// Why a lab ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Nobody types, or opens a page.
    Idle,
    /// It has been there as long as a lab may be.
    Lifetime,
}

/// A terminal as the page shows its tab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Its number.
    pub id: TerminalId,
    /// Its name, by which lessons send commands to it: `host`, `container`. No two terminals have the same.
    pub name: String,
    /// Its size, which is its size on the owner's page.
    pub size: Size,
    /// Whether its shell runs.
    pub running: bool,
    /// How its last shell ended, where none runs; `None` where that is not known.
    pub exit: Option<Exit>,
    /// The program in the foreground: `sh`, `newroot`.
    pub program: String,
    /// The view of the program in the foreground, where it is known: it colours the tab.
    pub view: Option<ViewId>,
}

/// How a shell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this exit status.
    Status(i32),
    /// By a signal of this number.
    Signal(i32),
}

/// A pair of mount namespace and root directory that at least one process of the lab has: what `mount` prints there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its number.
    pub id: ViewId,
    /// The inode of the mount namespace, as `readlink /proc/PID/ns/mnt` tells it.
    pub mount_namespace: u64,
    /// Mount namespaces in the order of appearance: 0 is the lab's own, "the host". It chooses the colour.
    pub ordinal: u32,
    /// The root directory of its processes: `/`, or where chroot(2) put it, seen from the mount namespace's own root.
    pub root: String,
    /// Its processes, eldest first; not all of them where there are many.
    pub processes: Vec<Process>,
    /// How many more processes it has.
    pub more_processes: u32,
    /// Whether the root directory has been deleted; `root` is then where it was.
    pub root_deleted: bool,
    /// The mount that the root directory lies on: path lookup begins there.
    pub root_mount: MountId,
    /// Whether the table has more rows than the lab tells.
    pub cut: bool,
}

/// A process of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number in the lab's PID namespace, as the learner's `ps` shows it.
    pub pid: u32,
    /// The name of its program, which it chooses itself: at most 15 bytes.
    pub program: String,
}

/// What a binary frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// From the lab: what the terminal shows. `offset` is the place of the first byte.
    Output,
    /// From the page: what was typed or pasted. `offset` is 0.
    Input,
}

/// A binary frame: kind (1 byte), terminal (4 bytes), offset (8 bytes), both big-endian, and then the terminal's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the bytes are.
    pub kind: FrameKind,
    /// Which terminal.
    pub terminal: TerminalId,
    /// The offset of the first byte.
    pub offset: Offset,
    /// The terminal's bytes, untouched.
    pub bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    const HEAD: usize = 13;

    /// The frame as it goes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(Self::HEAD + self.bytes.len());
        wire.push(match self.kind {
            FrameKind::Output => 1,
            FrameKind::Input => 2,
        });
        wire.extend_from_slice(&self.terminal.0.to_be_bytes());
        wire.extend_from_slice(&self.offset.0.to_be_bytes());
        wire.extend_from_slice(self.bytes);
        wire
    }

    /// Reads a frame from the wire; `None` where it is too short or of an unknown kind.
    pub fn decode(wire: &'a [u8]) -> Option<Frame<'a>> {
        let (head, bytes) = wire.split_at_checked(Self::HEAD)?;
        let kind = match head[0] {
            1 => FrameKind::Output,
            2 => FrameKind::Input,
            _ => return None,
        };
        let terminal = TerminalId(u32::from_be_bytes(head[1..5].try_into().ok()?));
        let offset = Offset(u64::from_be_bytes(head[5..13].try_into().ok()?));
        Some(Frame { kind, terminal, offset, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_wire() {
        let frame =
            Frame { kind: FrameKind::Output, terminal: TerminalId(3), offset: Offset(1 << 40), bytes: b"\x00\xff" };
        assert_eq!(Frame::decode(&frame.encode()), Some(frame));
        assert_eq!(Frame::decode(&frame.encode()[..12]), None);
        assert_eq!(Frame::decode(&[9; 13]), None);
    }

    #[test]
    fn messages_are_tagged_json() {
        let message = ToLab::Acknowledge { terminal: TerminalId(1), offset: Offset(16384) };
        let json = serde_json::to_string(&message).expect("a message is JSON");
        assert_eq!(json, r#"{"type":"acknowledge","terminal":1,"offset":16384}"#);
        assert_eq!(serde_json::from_str::<ToLab>(&json).expect("and back"), message);
    }
}
