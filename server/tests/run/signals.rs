//! Signals: what reaches the command, what ends the container, and who buries the dead.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Layer, Registry, busybox, newroot, pull, text_of, with_default_signals};
use crate::machine::{Machine, eventually};

const ALL: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// A command that runs, and what it says.
struct Running {
    process: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Starts it, and waits until it says that it is ready.
    fn start(command: &Command) -> Running {
        let mut command = with_default_signals(command);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut running = Running { process, said };
        assert_eq!(running.line(), "ready\n");
        running
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    /// Waits until `cat` runs and has said what it was told: until then its process is still a shell, with handlers.
    fn until_cat_runs(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"meow\n").unwrap();
        assert_eq!(self.line(), "meow\n");
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    /// Its exit status, and what it said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.process.wait().unwrap().code(), said)
    }
}

#[test]
fn a_command_gets_the_signals_that_its_parent_is_sent() {
    let machine = Machine::new();
    let traps = "for signal in HUP INT QUIT TERM USR1 USR2; do trap \"echo got $signal\" $signal; done; \
        sleep 1000 & echo ready; while :; do wait; done";
    for init in [&[][..], &["--init"]] {
        let command = [init, &["--mount", "default", "busybox", "sh", "-c", traps]].concat();
        let mut container = Running::start(&machine.run(&command));
        for signal in ALL {
            container.send(signal);
            assert_eq!(format!("SIG{}", container.line().trim_start_matches("got ").trim()), signal.as_str());
        }
        container.send(Signal::SIGKILL);
    }
}

#[test]
fn a_signal_ends_a_command_that_has_no_handler_for_it_be_it_process_1_or_not() {
    let machine = Machine::new();
    for signal in ALL {
        for init in [&[][..], &["--init"]] {
            let command = [init, &["busybox", "sh", "-c", "echo ready; exec cat"]].concat();
            let mut container = Running::start(&machine.run(&command));
            container.until_cat_runs();
            container.send(signal);
            let (status, said) = container.end();
            assert_eq!(status, Some(128 + signal as i32), "{signal}: {said}");
            // The lesson: only without an init it takes the parent, and SIGKILL.
            assert_eq!(said.contains(&format!("{signal} does not reach process 1")), init.is_empty(), "{said}");
        }
    }
}

#[test]
fn a_signal_ends_a_container_although_nobody_reads_why() {
    let machine = Machine::new();
    let mut container = Running::start(&machine.run(&["busybox", "sh", "-c", "echo ready; exec cat"]));
    container.until_cat_runs();
    drop(container.process.stderr.take());
    // `wait` closes what it finds here, and `cat` would end by that before the signal comes.
    let _standard_input = container.process.stdin.take();
    container.send(Signal::SIGHUP);
    assert_eq!(container.process.wait().unwrap().code(), Some(128 + Signal::SIGHUP as i32));
}

#[test]
fn a_signal_that_newroot_was_started_to_ignore_does_nothing() {
    let machine = Machine::new();
    let inner = machine.run(&["busybox", "sh", "-c", "echo ready; exec cat"]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    let mut container = Running::start(&command);
    container.send(Signal::SIGHUP);
    // It still runs when its standard input ends, and then it ends as ever.
    drop(container.process.stdin.take());
    let (status, said) = container.end();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn the_exit_status_is_there_even_if_newroot_was_started_to_ignore_its_children() {
    let machine = Machine::new();
    let inner = machine.run(&["busybox", "sh", "-c", "exit 3"]);
    let mut command = Command::new("env");
    command.args(["--ignore-signal=CHLD"]).arg(inner.get_program()).args(inner.get_args());
    assert_eq!(command.output().unwrap().status.code(), Some(3));
}

#[test]
fn an_init_buries_orphans_and_a_command_as_process_1_need_not() {
    let machine = Machine::new();
    for (flags, expected) in [(&["--mount", "default"][..], ["Z"].as_slice()), (&["--mount", "default", "--init"], &[])]
    {
        let script = "(busybox sleep 1000 &); echo ready; exec cat";
        let mut container = Running::start(&machine.run(&[flags, &["busybox", "sh", "-c", script]].concat()));
        container.until_cat_runs();
        let children = |of: &str| fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
        // Name and state, as in `(sleep) S`.
        let stat = |of: &str| fs::read_to_string(format!("/proc/{of}/stat")).unwrap_or_default();
        let first = children(&container.process.id().to_string()).trim().to_owned();
        let orphans = || -> Vec<String> {
            let all = children(&first);
            all.split_whitespace().filter(|pid| stat(pid).contains("(busybox) ")).map(str::to_owned).collect()
        };
        eventually("an orphan is a child of process 1", || orphans().len() == 1);
        let orphan = orphans().remove(0);
        kill(Pid::from_raw(orphan.parse().unwrap()), Signal::SIGKILL).unwrap();
        eventually("the orphan is where it belongs", || {
            let states: Vec<String> =
                orphans().iter().map(|pid| stat(pid).split(' ').nth(2).unwrap_or("").to_owned()).collect();
            states == expected
        });
        container.send(Signal::SIGKILL);
    }
}

#[test]
fn what_an_init_starts_has_every_signal_as_by_default() {
    let machine = Machine::new();
    let said =
        machine.output_of(&["--init", "--mount", "proc"], "echo $$; exec grep -E 'Sig(Blk|Ign)' /proc/self/status");
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("2"));
    for line in lines {
        // From bit 31 on are the real-time signals, which the C libraries keep for themselves.
        let signals = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(signals & 0x7fff_ffff, 0, "{said}");
    }
}

#[test]
fn a_container_that_runs_as_somebody_else_dies_with_its_parent_too() {
    let registry = Registry::start();
    let layers = [busybox().gzip(), Layer::new().file("etc/group", "root:x:0:\n").gzip()];
    registry.push_configured("library/user", &layers, serde_json::json!({ "User": "1000" }));
    let fs_directory = tempfile::tempdir().unwrap();
    let output = pull(&registry.url(), fs_directory.path(), "user");
    assert!(output.status.success(), "{}", text_of(&output));
    let mut command = newroot();
    command.args(["run", "--fs"]).arg(fs_directory.path()).args(["user", "sh", "-c", "echo ready; exec cat"]);
    let mut container = Running::start(&command);
    container.send(Signal::SIGKILL);
    // Standard input is still open, so only a signal can have ended it.
    container.said.read_to_string(&mut String::new()).unwrap();
}

#[test]
fn the_container_dies_with_its_parent_and_signals_are_as_by_default() {
    let machine = Machine::new();
    // Started by a shell that ignores SIGINT, as one does for what it starts in the background.
    let script = "trap '' INT QUIT; exec \"$@\"";
    let mut command = Command::new("sh");
    let inner = machine.run(&["--mount", "proc", "busybox", "sh", "-c", "grep SigIgn /proc/self/status; cat"]);
    command.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    // From bit 31 on are the real-time signals, which the C libraries keep for themselves.
    let ignored = u64::from_str_radix(line.trim_start_matches("SigIgn:").trim(), 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff, 0, "{line}");
    process.kill().unwrap();
    process.wait().unwrap();
    // Standard input is still open, so only a signal can have ended the container; this reads until it has.
    said.read_to_string(&mut line).unwrap();
}
