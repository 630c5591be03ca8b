//! PID 1's part of a terminal: opening it inside the sandbox, so that `tty` and `ps` tell the truth there. The only
//! module that knows pty-process.

use std::os::fd::OwnedFd;
use std::path::Path;

use shared::protocol::Size;

use crate::lab::shell::{self, SHELLS};

/// What every shell of a lab is started with.
const ENVIRONMENT: [(&str, &str); 11] = [
    ("HOME", "/root"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    // What xterm.js is: the entry of xterm, and colours of 24 bits, which terminfo has no word for.
    ("TERM", "xterm-256color"),
    ("COLORTERM", "truecolor"),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("PS1", "\\u@\\h:\\w\\$ "),
    ("NEWROOT_REGISTRY", "http://127.0.0.1:5000"),
    ("NEWROOT_MIRROR", "http://127.0.0.1:5000"),
    // Nobody but the learner is on this machine, and the lab process, which is none of its users, looks at images' files.
    ("NEWROOT_OPEN", "1"),
];

/// A pseudoterminal with a shell could not be opened inside the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No pseudoterminal.
    #[error("cannot open a pseudoterminal in /dev/pts: {0}")]
    Pseudoterminal(pty_process::Error),
    /// No shell.
    #[error("cannot start a shell: {0}")]
    Shell(pty_process::Error),
}

/// Starts a shell in a session of its own, with a new pseudoterminal as its controlling terminal. Returns the shell's
/// process number and the terminal's master side.
///
/// The shell starts with no signal ignored or blocked: the lab process has reset all of them, and std undoes what
/// Rust's own start-up does to SIGPIPE.
pub fn open_in_sandbox(size: Size) -> Result<(u32, OwnedFd), OpenError> {
    let (master, slave) = pty_process::blocking::open().map_err(OpenError::Pseudoterminal)?;
    master.resize(pty_process::Size::new(size.rows, size.columns)).map_err(OpenError::Pseudoterminal)?;
    // As long as a learner leaves one in its place.
    let path = shell::find(Path::new("/")).unwrap_or(SHELLS[SHELLS.len() - 1]);
    let shell = pty_process::blocking::Command::new(path)
        // A leading dash makes it a login shell, which reads /etc/profile.
        .arg0(path.replace("/bin/", "-"))
        .env_clear()
        .envs(ENVIRONMENT)
        .env("SHELL", path)
        .current_dir("/root")
        .spawn(slave)
        .map_err(OpenError::Shell)?;
    Ok((shell.id(), master.into()))
}
