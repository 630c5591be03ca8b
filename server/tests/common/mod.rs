//! What several test files need: the `newroot` binary here, and in modules of their own images made on the spot, a real
//! registry, a server and its pages.
//! All of it needs root, Debian's docker-registry, skopeo and busybox-static, and fails without.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

pub mod bench;
pub mod flood;
pub mod image;
pub mod mirror;
pub mod page;
pub mod playground;
pub mod program;
pub mod proxy;
pub mod raw;
pub mod registry;
pub mod scripted;
pub mod terminal;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::unistd::Pid;

pub use image::*;
pub use registry::*;

/// The cgroups that a process is in, given its directory in /proc; none of one that has ended. Until somebody has asked for
/// its exit status, version 2 still names its last.
pub fn cgroups_of(process: &Path) -> String {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // PID (PROGRAM) STATE …, and a program's name may have parentheses.
    let has_ended = stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']));
    if has_ended { String::new() } else { fs::read_to_string(process.join("cgroup")).unwrap_or_default() }
}

/// The processes that a process has started, as far as they have not been waited for.
pub fn children_of(process: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect::<Vec<_>>())
        .collect()
}

/// A field of /proc/PID/status, given that directory.
pub fn status_field(process: &Path, field: &str) -> String {
    let status = fs::read_to_string(process.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in {status}")).trim().to_owned()
}

/// The binary under test, with an environment in which no other registry than the named one can come into play, and no
/// password.
pub fn newroot() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_newroot"));
    command
        .env_remove("NEWROOT_REGISTRY")
        .env_remove("NEWROOT_MIRROR")
        .env("DOCKER_CONFIG", "/nonexistent")
        .stdin(Stdio::null());
    command
}

/// A command for the binary under test, run to its end.
pub fn run_newroot(arguments: &[&str]) -> Output {
    newroot().args(arguments).output().unwrap()
}

/// The same command with every signal as by default, even where this test was started in the background by a script, which
/// has its programs ignore Ctrl-C.
pub fn with_default_signals(command: &Command) -> Command {
    let mut default = Command::new("env");
    default.arg("--default-signal").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => default.env(name, value),
            None => default.env_remove(name),
        };
    }
    default
}

/// Waits until something on the disk is so, of which nothing tells.
pub fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// `newroot pull --registry URL --fs FS IMAGE`.
pub fn pull(url: &str, fs: &Path, image: &str) -> Output {
    run_newroot(&["pull", "--registry", url, "--fs", fs.to_str().unwrap(), image])
}

/// Runs a shell script in a mount namespace of its own, with the binary as `$NEWROOT` and a directory for mounts as `$FS`.
pub fn in_a_mount_namespace(registry: &Registry, script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .env("NEWROOT", env!("CARGO_BIN_EXE_newroot"))
        .env("NEWROOT_REGISTRY", registry.url())
        .env("DOCKER_CONFIG", "/nonexistent")
        .env("FS", directory.path())
        .output()
        .unwrap();
    text_of(&output)
}

/// Standard output and standard error together.
pub fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The names in a directory, sorted.
pub fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| String::from_utf8_lossy(entry.unwrap().file_name().as_bytes()).into_owned())
        .collect();
    names.sort();
    names
}
