//! The terminal that `newroot run` was started on, as the parent sees it: lent to the container, and taken back. Under
//! which name the container has it is in `devices`.

use std::io::stdin;

use nix::errno::Errno;
use nix::sys::signal::killpg;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp, tcsetpgrp};

/// How the terminal was before it was lent.
pub struct Terminal(Option<Termios>);

impl Terminal {
    /// Remembers how it is, if there is one and this process is in its foreground.
    pub fn remember() -> Terminal {
        let in_foreground = tcgetpgrp(stdin()) == Ok(getpgrp());
        Terminal(if in_foreground { tcgetattr(stdin()).ok() } else { None })
    }

    // step: take-terminal-back
    /// Leaves it usable for whoever reads it next. What fails here would have been a kindness, so it fails silently.
    pub fn take_back(self, was_killed: bool) {
        let Some(before) = self.0 else { return };
        // A shell in the container has put a process group of its own in the foreground. Now that this group is empty,
        // whoever reads the terminal would be in the background, and be stopped. Another group that is not empty is
        // somebody else's, as after Ctrl-Z and `bg`.
        if tcgetpgrp(stdin()).is_ok_and(|group| killpg(group, None) == Err(Errno::ESRCH)) {
            let _ = tcsetpgrp(stdin(), getpgrp());
        }
        // An editor that was killed leaves no echo and no line breaks. One that has ended by itself has cleaned up, and
        // what `stty` has set is to stay.
        if was_killed && tcgetpgrp(stdin()) == Ok(getpgrp()) {
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &before);
        }
    }
}
