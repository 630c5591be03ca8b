//! What a program asks the kernel for: the watched calls, each with its arguments read from registers and memory.

use nix::unistd::Pid;

use super::memory::{Text, words};
use crate::lab::seccomp::{OPEN, RENAME};
use crate::sys::Notification;

/// As many arguments of a program are read.
const MOST_ARGUMENTS: usize = 32;

/// The names of fields are the manual's where they name arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the manual tells of each")]
pub enum Ask {
    Clone { flags: u64, stack: u64 },
    Unshare { flags: u64 },
    Setns { fd: i32, nstype: u64 },
    Mount { source: Text, target: Text, kind: Text, flags: u64, data: Text },
    Unmount { target: Text, flags: u64 },
    OpenFileSystem { name: Text, flags: u64 },
    PickFileSystem { directory: i32, path: Text, flags: u64 },
    Configure { fd: i32, command: u32, key: Text, value: Value, aux: i32 },
    MakeMount { fd: i32, flags: u64, attributes: u64 },
    MoveMount { from_directory: i32, from: Text, to_directory: i32, to: Text, flags: u64 },
    OpenTree { directory: i32, path: Text, flags: u64 },
    SetAttributes { directory: i32, path: Text, flags: u64, attributes: Attributes, size: u64 },
    PivotRoot { new_root: Text, put_old: Text },
    Chroot { path: Text },
    SetHostname { name: Text, length: u64 },
    Execute { at: Option<At>, path: Text, arguments: Arguments },
    Connect { fd: i32, address: u64, length: u64 },
    Rename { from: Text, to: Text },
    OpenUnnamed { directory: Text },
}

/// What fsconfig(2) sets a key to: text for most of its commands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as above")]
pub enum Value {
    Text(Text),
    Address(u64),
}

/// `struct mount_attr`, as far as it was there to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of mount_setattr(2)")]
pub enum Attributes {
    Are { set: u64, clear: u64, propagation: u64, user_namespace: u64 },
    Unreadable(u64),
}

/// What execveat(2) has beyond execve(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The directory that the path begins at.
    pub directory: i32,
    /// How it is looked up.
    pub flags: u64,
}

/// The arguments of a program to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// They, and whether there are more.
    Are(Vec<Text>, bool),
    /// Their list cannot be read.
    Unreadable(u64),
}

impl Ask {
    /// Reads the arguments of a call that waits. What was read is true only if the call waits still.
    pub fn read(Notification { thread, number, arguments: [a, b, c, d, e, _], .. }: &Notification) -> Option<Ask> {
        let (thread, a, b, c, d, e) = (*thread, *a, *b, *c, *d, *e);
        let text = |address| Text::read(thread, address);
        Some(match *number {
            libc::SYS_clone => Ask::Clone { flags: a, stack: b },
            libc::SYS_unshare => Ask::Unshare { flags: a },
            libc::SYS_setns => Ask::Setns { fd: a as i32, nstype: b },
            libc::SYS_mount => Ask::Mount { source: text(a), target: text(b), kind: text(c), flags: d, data: text(e) },
            libc::SYS_umount2 => Ask::Unmount { target: text(a), flags: b },
            libc::SYS_fsopen => Ask::OpenFileSystem { name: text(a), flags: b },
            libc::SYS_fspick => Ask::PickFileSystem { directory: a as i32, path: text(b), flags: c },
            libc::SYS_fsconfig => {
                let command = b as u32;
                let is_text = [libc::FSCONFIG_SET_STRING, libc::FSCONFIG_SET_PATH, libc::FSCONFIG_SET_PATH_EMPTY];
                let value = if is_text.contains(&command) { Value::Text(text(d)) } else { Value::Address(d) };
                Ask::Configure { fd: a as i32, command, key: text(c), value, aux: e as i32 }
            }
            libc::SYS_fsmount => Ask::MakeMount { fd: a as i32, flags: b, attributes: c },
            libc::SYS_move_mount => Ask::MoveMount {
                from_directory: a as i32,
                from: text(b),
                to_directory: c as i32,
                to: text(d),
                flags: e,
            },
            libc::SYS_open_tree => Ask::OpenTree { directory: a as i32, path: text(b), flags: c },
            libc::SYS_mount_setattr => {
                let attributes = Attributes::read(thread, d);
                Ask::SetAttributes { directory: a as i32, path: text(b), flags: c, attributes, size: e }
            }
            libc::SYS_pivot_root => Ask::PivotRoot { new_root: text(a), put_old: text(b) },
            libc::SYS_chroot => Ask::Chroot { path: text(a) },
            libc::SYS_sethostname => Ask::SetHostname { name: Text::of_length(thread, a, b.min(HOSTNAME)), length: b },
            libc::SYS_execve => Ask::Execute { at: None, path: text(a), arguments: Arguments::read(thread, b) },
            libc::SYS_execveat => Ask::Execute {
                at: Some(At { directory: a as i32, flags: e }),
                path: text(b),
                arguments: Arguments::read(thread, c),
            },
            libc::SYS_connect => Ask::Connect { fd: a as i32, address: b, length: c },
            RENAME if cfg!(target_arch = "x86_64") => Ask::Rename { from: text(a), to: text(b) },
            RENAME => Ask::Rename { from: text(b), to: text(d) },
            number if number == OPEN.0 => {
                Ask::OpenUnnamed { directory: text(if cfg!(target_arch = "x86_64") { a } else { b }) }
            }
            _ => return None,
        })
    }

    /// Whether it changes rows of mount tables where it succeeds, so that they are worth a look before and after.
    pub fn changes_tables(&self) -> bool {
        matches!(
            self,
            Ask::Mount { .. }
                | Ask::Unmount { .. }
                | Ask::MoveMount { .. }
                | Ask::SetAttributes { .. }
                | Ask::PivotRoot { .. }
        )
    }

    /// Whether it only shows how far the taught runtime is.
    pub fn is_step(&self) -> bool {
        matches!(self, Ask::Connect { .. } | Ask::Rename { .. } | Ask::OpenUnnamed { .. })
    }

    /// Whether it copies a mount namespace where it succeeds.
    pub fn copies_namespace(&self) -> bool {
        match self {
            Ask::Clone { flags, .. } | Ask::Unshare { flags } => flags & libc::CLONE_NEWNS as u64 != 0,
            _ => false,
        }
    }
}

/// More of a host name is refused (sethostname(2)), and not read.
const HOSTNAME: u64 = 64;

impl Attributes {
    fn read(thread: Pid, address: u64) -> Attributes {
        match words(thread, address, 4)[..] {
            [set, clear, propagation, user_namespace] => Attributes::Are { set, clear, propagation, user_namespace },
            _ => Attributes::Unreadable(address),
        }
    }
}

impl Arguments {
    fn read(thread: Pid, address: u64) -> Arguments {
        // The kernel takes NULL for an empty list.
        let pointers = words(thread, address, MOST_ARGUMENTS + 1);
        let end = pointers.iter().position(|&pointer| pointer == 0);
        if end.is_none() && pointers.len() <= MOST_ARGUMENTS && address != 0 {
            return Arguments::Unreadable(address);
        }
        let told = &pointers[..end.unwrap_or(pointers.len()).min(MOST_ARGUMENTS)];
        // Each may be long, but all that is ever shown of them is a beginning.
        let texts = told.iter().map(|&pointer| match Text::read(thread, pointer) {
            Text::TooLong(start) => Text::Is(start),
            text => text,
        });
        Arguments::Are(texts.collect(), end.is_none() && address != 0)
    }
}
