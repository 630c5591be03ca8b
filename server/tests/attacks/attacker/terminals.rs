//! Attacks by what terminals can be told.

use std::io;

use crate::Outcome::Held;
use crate::{Attack, Outcome, error, got};

/// All of them.
pub const ATTACKS: &[Attack] = &[
    ("terminal-type-into", || {
        on_a_terminal(|slave| unsafe { libc::ioctl(slave, libc::TIOCSTI as _, c"x".as_ptr()) }, "typed")
    }),
    ("terminal-discipline", || {
        let discipline = 0i32;
        on_a_terminal(
            |slave| unsafe { libc::ioctl(slave, libc::TIOCSETD as _, &raw const discipline) },
            "another protocol",
        )
    }),
    ("terminal-console", || {
        on_a_terminal(
            |slave| unsafe { libc::ioctl(slave, libc::TIOCCONS as _, 0) },
            "the kernel's messages are shown here",
        )
    }),
    ("terminal-of-the-session", terminal_of_the_session),
];

/// On the controlling terminal of a session of one's own.
fn on_a_terminal(attack: impl Fn(i32) -> i32, what: &str) -> Outcome {
    let (mut master, mut slave) = (0, 0);
    let null = std::ptr::null_mut();
    if unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast()) } < 0 {
        return Held(error().to_string());
    }
    unsafe {
        libc::setsid();
        libc::ioctl(slave, libc::TIOCSCTTY as _, 0);
    }
    let result = attack(slave);
    // The other side is closed by the end of this process: before, that would be the end.
    got(if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }, what)
}

/// Whether there is a terminal above: the parent of a parent has none of the machine's.
fn terminal_of_the_session() -> Outcome {
    unsafe { libc::setsid() };
    got(std::fs::File::open("/dev/tty"), "a terminal for a session that has none")
}
