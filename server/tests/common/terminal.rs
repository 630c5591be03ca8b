//! A program on a terminal of its own, and somebody who types and reads there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use pty_process::Size;
use pty_process::blocking::Pty;

/// How long anything may take on a machine that does much else. Nothing is timed by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ctrl-C, Ctrl-Z and Ctrl-\ as a terminal sends them.
pub const CTRL_C: &str = "\x03";
pub const CTRL_Z: &str = "\x1a";
pub const CTRL_BACKSLASH: &str = "\x1c";

/// The terminal: 80 columns, 24 rows.
pub struct Terminal {
    pty: Pty,
    process: Child,
    said: Receiver<Vec<u8>>,
    unread: String,
}

impl Terminal {
    /// Starts a command as the leader of a new session, whose terminal this is.
    pub fn start(command: &Command) -> Terminal {
        let (pty, inside) = pty_process::blocking::open().unwrap();
        pty.resize(Size::new(24, 80)).unwrap();
        let command = super::with_default_signals(command);
        let mut on_terminal = pty_process::blocking::Command::new(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            on_terminal = match value {
                Some(value) => on_terminal.env(name, value),
                None => on_terminal.env_remove(name),
            };
        }
        let process = on_terminal.spawn(inside).unwrap();
        let (say, said) = channel();
        let mut output = File::from(pty.as_fd().try_clone_to_owned().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with EIO when nobody has the terminal open any more.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if say.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { pty, process, said, unread: String::new() }
    }

    /// The process that was started.
    pub fn process(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.process.id() as i32)
    }

    /// Types.
    pub fn type_keys(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until this text has come; returns what came before it. The next call goes on after it.
    pub fn until(&mut self, text: &str) -> String {
        loop {
            if let Some((before, after)) = self.unread.split_once(text) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.unread = after;
                return before;
            }
            match self.said.recv_timeout(PATIENCE) {
                Ok(bytes) => self.unread += &String::from_utf8_lossy(&bytes),
                Err(_) => panic!("{text:?} did not come, but {:?}", self.unread),
            }
        }
    }

    /// Changes its size.
    pub fn resize(&self, rows: u16, columns: u16) {
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    /// Reads to the end; returns the exit status, and what came since the last call of `until`.
    pub fn end(mut self) -> (Option<i32>, String) {
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(bytes) => self.unread += &String::from_utf8_lossy(&bytes),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(_) => panic!("it does not end, but says {:?}", self.unread),
            }
        }
        let status = self.process.wait().unwrap();
        (status.code(), std::mem::take(&mut self.unread))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
