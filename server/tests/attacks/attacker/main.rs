//! What a hostile learner runs in a lab: each attack by its name. `newroot-attacker NAME…` makes them one after the other,
//! each in a process of its own, and prints a line of each: `NAME: escaped: …` where it has got what it should not,
//! `NAME: held: …` where it has not. `newroot-attacker hold NAME` keeps what it has got until a line comes on standard input.
//!
//! What an attack needs to know stands in the environment. With `ATTACKER_IS_CONTROL` it runs on the machine itself, where
//! it may succeed, and shows that it is an attack at all.

#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "it does what nobody else should")]
#![allow(clippy::unwrap_used, reason = "an attack that cannot be set up says so by its end")]

mod calls;
mod files;
mod processes;
mod puppet;
mod resources;
mod terminals;

use std::ffi::CString;
use std::io;
use std::io::{Read, Write};
use std::process::ExitCode;

/// How an attack went, and by what that is seen.
pub enum Outcome {
    /// It has got what it should not.
    Escaped(String),
    /// It has not.
    Held(String),
}

use Outcome::{Escaped, Held};

/// An attack by its name.
type Attack = (&'static str, fn() -> Outcome);

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.first().is_some_and(|first| first == "bait") {
        processes::bait();
        return ExitCode::SUCCESS;
    }
    if names.first().is_some_and(|first| first == "ask") {
        ask();
        return ExitCode::SUCCESS;
    }
    let holds = names.first().is_some_and(|first| first == "hold");
    for name in names.iter().skip(usize::from(holds)) {
        let all = [
            calls::ATTACKS,
            files::ATTACKS,
            processes::ATTACKS,
            resources::ATTACKS,
            puppet::ATTACKS,
            terminals::ATTACKS,
        ];
        let Some((_, attack)) = all.iter().copied().flatten().find(|(known, _)| known == name) else {
            eprintln!("there is no attack {name}");
            return ExitCode::FAILURE;
        };
        if holds {
            say(name, &attack());
            let _ = io::stdin().read_line(&mut String::new());
            // What was got is given back by the end of this process.
            return ExitCode::SUCCESS;
        }
        in_a_child(name, *attack);
    }
    ExitCode::SUCCESS
}

/// Sends what comes on standard input to the registry mirror of this network namespace, and prints its answer.
fn ask() {
    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request).unwrap();
    let mut mirror = std::net::TcpStream::connect("127.0.0.1:5000").unwrap();
    mirror.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let _cut_off = mirror.write_all(&request);
    let _cut_off = mirror.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _reset = mirror.read_to_end(&mut answer);
    let _ = io::stdout().write_all(&answer);
}

fn say(name: &str, outcome: &Outcome) {
    let line = match outcome {
        Escaped(how) => format!("{name}: escaped: {how}\n"),
        Held(why) => format!("{name}: held: {why}\n"),
    };
    // At once and in one piece: others may write to the same terminal.
    let _ = io::stdout().write_all(line.as_bytes());
    let _ = io::stdout().flush();
}

/// An attack may end the process that makes it.
fn in_a_child(name: &str, attack: fn() -> Outcome) {
    let _ = io::stdout().flush();
    let child = unsafe { libc::fork() };
    if child == 0 {
        say(name, &attack());
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    unsafe { libc::waitpid(child, &mut status, 0) };
    if libc::WIFSIGNALED(status) {
        say(name, &Held(format!("killed by signal {}", libc::WTERMSIG(status))));
    } else if libc::WEXITSTATUS(status) != 0 {
        say(name, &Held("the attack itself has failed".to_owned()));
    }
}

/// Whether this is the machine itself.
pub fn is_control() -> bool {
    std::env::var_os("ATTACKER_IS_CONTROL").is_some()
}

/// What the test tells.
pub fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not told"))
}

/// The errno of the moment.
pub fn error() -> io::Error {
    io::Error::last_os_error()
}

/// The result of a system call.
pub fn call(number: libc::c_long, arguments: &[usize]) -> io::Result<usize> {
    let argument = |place: usize| arguments.get(place).copied().unwrap_or_default();
    let result =
        unsafe { libc::syscall(number, argument(0), argument(1), argument(2), argument(3), argument(4), argument(5)) };
    if result < 0 { Err(error()) } else { Ok(result as usize) }
}

/// Whether the attacker got it.
pub fn got<T>(result: io::Result<T>, what: &str) -> Outcome {
    match result {
        Ok(_) => Escaped(what.to_owned()),
        Err(error) => Held(error.to_string()),
    }
}

/// Whether the kernel has looked at a call at all, be it to find fault with its arguments.
pub fn reached(result: io::Result<usize>) -> Outcome {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS | libc::EACCES)) => {
            Held(error.to_string())
        }
        Err(error) => Escaped(format!("the kernel looks at it: {error}")),
        Ok(value) => Escaped(format!("the kernel answers {value}")),
    }
}

/// A string for the kernel.
pub fn string(text: &str) -> CString {
    CString::new(text).expect("no NUL in it")
}
