//! What travels on the WebSocket between one page and its lab. Text frames carry a JSON [`ToLab`] or [`ToPage`];
//! binary frames carry the bytes of a terminal, laid out by [`Frame`].

use serde::{Deserialize, Serialize};

use crate::mount::{Mount, TableDiff};

/// How many bytes of a terminal's output may be on their way: sent, but not yet acknowledged by the page.
pub const WINDOW: u64 = 128 * 1024;

/// How many bytes the page lets xterm parse before it acknowledges them.
pub const ACKNOWLEDGE_EACH: u64 = 16 * 1024;

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
    /// The page's terminal has a new size.
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
    /// A terminal's state changed.
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
        /// The rows of a new view, in the kernel's order.
        rows: Option<Vec<Mount>>,
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
}

/// A terminal as the page shows its tab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Its number.
    pub id: TerminalId,
    /// Its name, by which lessons send commands to it: `host`, `container`.
    pub name: String,
    /// Whether its shell runs.
    pub running: bool,
    /// The program in the foreground: `sh`, `newroot`.
    pub program: String,
    /// The view of the program in the foreground, where it is known: it colours the tab.
    pub view: Option<ViewId>,
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
    /// Its processes, eldest first.
    pub processes: Vec<Process>,
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
