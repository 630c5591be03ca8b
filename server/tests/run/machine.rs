//! What the tests of `newroot run` start: a directory with an image in it, and containers that wait to be told.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shared::mount::{Mount, parse_table};
use tempfile::TempDir;

use crate::common::{Registry, busybox, newroot, pull, text_of};

/// A directory for images with `busybox` pulled into it.
pub struct Machine {
    /// Its images.
    pub fs: TempDir,
}

impl Machine {
    /// A new one.
    pub fn new() -> Machine {
        let registry = Registry::start();
        registry.push("library/busybox", &[busybox().gzip()]);
        let machine = Machine { fs: tempfile::tempdir().unwrap() };
        let output = pull(&registry.url(), machine.fs.path(), "busybox");
        assert!(output.status.success(), "{}", text_of(&output));
        machine
    }

    /// `newroot run --fs FS …`.
    pub fn run(&self, arguments: &[&str]) -> Command {
        let mut command = newroot();
        command.args(["run", "--fs"]).arg(self.fs.path()).args(arguments);
        command
    }

    /// The rootfs of `busybox`.
    pub fn rootfs(&self) -> PathBuf {
        self.fs.path().join("busybox/rootfs")
    }

    /// The standard output of a shell script in the container.
    pub fn output_of(&self, flags: &[&str], script: &str) -> String {
        let output = self.run(&[flags, &["busybox", "/bin/sh", "-c", script]].concat()).output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit status and standard error of a command in the container.
    pub fn failure_of(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// A running container that does what it is told, line by line, on standard input.
pub struct Container {
    /// `newroot run`.
    pub process: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Container {
    /// Starts a shell and waits for it to say that it has run the script.
    pub fn start(machine: &Machine, flags: &[&str], script: &str) -> Container {
        let script = format!("{script}; echo ready; cat");
        let mut process = machine
            .run(&[flags, &["busybox", "/bin/sh", "-c", &script]].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Container { process, said }
    }

    /// The process on this machine that is process 1 of the container.
    pub fn first_process(&self) -> u32 {
        let parent = self.process.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        children.trim().parse().unwrap()
    }

    /// Lets it end.
    pub fn end(mut self) {
        drop(self.process.stdin.take());
        self.said.read_to_string(&mut String::new()).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

/// The mount table of a process.
pub fn mounts_of(process: impl std::fmt::Display) -> Vec<Mount> {
    parse_table(&fs::read(format!("/proc/{process}/mountinfo")).unwrap())
}

/// The inode number of a namespace.
pub fn namespace_of(process: impl std::fmt::Display, kind: &str) -> u64 {
    fs::metadata(format!("/proc/{process}/ns/{kind}")).unwrap().ino()
}

/// Waits until something is so, for want of anything that would tell.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::yield_now();
    }
}
