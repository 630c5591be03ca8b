//! One learner's machine. A lab process per learner holds its terminals, mount views and sockets without any privilege
//! on the host; a zygote and the sandbox's PID 1 stand below it. The server starts labs and hands page sockets to them
//! through a [`Handle`], and stays out of everything else; what of it takes root is done by a [`Keeper`].
//!
//! Top to bottom: [`handle`] (server's side), [`keeper`] (what takes root), [`handover`] and [`stream`] (between the two), [`process`] (the lab process), [`alarm`] (its event loop),
//! [`state`] (what it knows), [`pages`] and [`session`] (one page), [`terminals`] and [`terminal`], [`views`], [`told`], [`proc`], [`trace`],
//! [`tasks`], [`judge`] and [`facts`] (the lessons' checks); and what builds the machine: [`sandbox`], [`zygote`], [`init`], [`machine`], [`seccomp`], [`uid_range`], [`cgroup`],
//! [`privileges`], [`channel`], [`shell`], [`program`]. [`uncover`] prepares a container for labs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod alarm;
mod beginning;
pub mod cgroup;
mod channel;
mod facts;
pub mod handle;
mod handover;
pub mod init;
mod judge;
pub mod keeper;
mod machine;
mod pages;
pub mod pressure;
mod privileges;
mod proc;
pub mod process;
mod program;
mod ring;
pub mod sandbox;
mod seccomp;
mod session;
pub mod shell;
mod state;
mod stream;
mod tasks;
mod terminal;
mod terminals;
mod told;
mod trace;
pub mod uid_range;
pub mod uncover;
mod views;
mod zygote;

pub use handle::Handle;
pub use handover::{Look, Status};
pub use keeper::{Keeper, Settings};
pub use sandbox::Overlay;
pub use state::Lab;

/// Names a lab: 128 bits that nobody can guess, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabId(pub [u8; 16]);

impl fmt::Display for LabId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LabId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell labs apart in a log, not enough to name one.
        write!(f, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// A text is no [`LabId`].
#[derive(Debug, thiserror::Error)]
#[error("a lab's id is 32 hexadecimal digits")]
pub struct NoLabId;

impl FromStr for LabId {
    type Err = NoLabId;

    fn from_str(text: &str) -> Result<LabId, NoLabId> {
        let mut id = [0; 16];
        // A number may have a sign, and an id may not.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoLabId);
        }
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).map_err(|_| NoLabId)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NoLabId)?;
        }
        Ok(LabId(id))
    }
}

impl TryFrom<String> for LabId {
    type Error = NoLabId;

    fn try_from(text: String) -> Result<LabId, NoLabId> {
        text.parse()
    }
}

impl From<LabId> for String {
    fn from(id: LabId) -> String {
        id.to_string()
    }
}
