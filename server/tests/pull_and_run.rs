//! `newroot run` of what was pulled from a real registry, on the real kernel. Runs as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Layer, Registry, busybox, names_in, newroot, pull, run_newroot, text_of};
use shared::mount::{Mount, parse_table};
use tempfile::TempDir;

/// A directory for images with `busybox` pulled into it.
struct Machine {
    fs: TempDir,
}

impl Machine {
    fn new() -> Machine {
        let registry = Registry::start();
        registry.push("library/busybox", &[busybox().gzip()]);
        let machine = Machine { fs: tempfile::tempdir().unwrap() };
        let output = pull(&registry.url(), machine.fs.path(), "busybox");
        assert!(output.status.success(), "{}", text_of(&output));
        machine
    }

    /// `newroot run --fs FS …`.
    fn run(&self, arguments: &[&str]) -> Command {
        let mut command = newroot();
        command.args(["run", "--fs"]).arg(self.fs.path()).args(arguments);
        command
    }

    fn rootfs(&self) -> PathBuf {
        self.fs.path().join("busybox/rootfs")
    }

    /// The standard output of a shell script in the container.
    fn output_of(&self, flags: &[&str], script: &str) -> String {
        let output = self.run(&[flags, &["busybox", "/bin/sh", "-c", script]].concat()).output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit status and standard error of a command in the container.
    fn failure_of(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// A running container that does what it is told, line by line, on standard input.
struct Container {
    process: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Container {
    /// Starts a shell and waits for it to say that it has run the script.
    fn start(machine: &Machine, flags: &[&str], script: &str) -> Container {
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
    fn first_process(&self) -> u32 {
        let parent = self.process.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        children.trim().parse().unwrap()
    }

    /// Lets it end.
    fn end(mut self) {
        drop(self.process.stdin.take());
        self.said.read_to_string(&mut String::new()).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

fn mounts_of(process: impl std::fmt::Display) -> Vec<Mount> {
    parse_table(&fs::read(format!("/proc/{process}/mountinfo")).unwrap())
}

fn namespace_of(process: impl std::fmt::Display, kind: &str) -> u64 {
    fs::metadata(format!("/proc/{process}/ns/{kind}")).unwrap().ino()
}

#[test]
fn the_exit_status_is_the_programs_own() {
    let machine = Machine::new();
    for status in [0, 3, 255] {
        let script = format!("exit {status}");
        assert_eq!(machine.failure_of(&["busybox", "/bin/sh", "-c", &script]).0, Some(status));
    }
    let container = Container::start(&machine, &[], "true");
    let first = nix::unistd::Pid::from_raw(container.first_process() as i32);
    nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL).unwrap();
    let mut process = container.process;
    assert_eq!(process.wait().unwrap().code(), Some(128 + 9));
}

#[test]
fn what_cannot_be_executed_says_why() {
    let machine = Machine::new();
    let (status, said) = machine.failure_of(&["busybox", "/bin/bash"]);
    assert_eq!(status, Some(127));
    assert!(said.contains("exec /bin/bash in busybox: no such file; this image has /bin/sh"), "{said}");
    let (status, said) = machine.failure_of(&["busybox", "bash", "-c", "true"]);
    assert_eq!(status, Some(127));
    assert!(said.contains("exec bash in busybox: no such file"), "{said}");
    let (status, said) = machine.failure_of(&["busybox", "/etc/passwd"]);
    assert_eq!(status, Some(126));
    assert!(said.contains("exec /etc/passwd in busybox: Permission denied"), "{said}");
    fs::write(machine.rootfs().join("script"), "#!/bin/missing\n").unwrap();
    assert!(Command::new("chmod").arg("755").arg(machine.rootfs().join("script")).status().unwrap().success());
    let (status, said) = machine.failure_of(&["busybox", "/script"]);
    assert_eq!(status, Some(127));
    assert!(said.contains("the interpreter or loader it names is not in this image"), "{said}");
    let (status, said) = machine.failure_of(&["--registry", "http://127.0.0.1:1", "alpine", "/bin/sh"]);
    assert_eq!(status, Some(125));
    assert!(said.contains("cannot reach 127.0.0.1:1: Connection refused"), "{said}");
    assert!(said.contains("there is busybox"), "what can be run instead: {said}");
    let output = run_newroot(&["child", "--fs", machine.fs.path().to_str().unwrap(), "busybox", "/bin/sh"]);
    assert_eq!(output.status.code(), Some(125), "the child does nothing outside new namespaces");
}

#[test]
fn the_container_has_its_own_root_names_and_environment() {
    let machine = Machine::new();
    let output = machine
        .run(&["--hostname", "box", "busybox", "sh", "-c", "hostname; pwd; ls /; echo $$; env"])
        .env("SECRET", "of the machine")
        .env("TERM", "xterm-256color")
        .current_dir("/usr")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "Working directory: /usr\nWorking directory: /\n");
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(&lines[..2], ["box", "/"]);
    assert_eq!(&lines[2..9], ["bin", "dev", "etc", "mnt", "proc", "root", "tmp"]);
    assert_eq!(lines[9], "1", "the command is process 1");
    assert!(lines.contains(&"TERM=xterm-256color") && !said.contains("SECRET"), "{said}");
}

#[test]
fn run_pulls_first_what_is_not_there() {
    let registry = Registry::start();
    registry.push("library/busybox", &[busybox().gzip()]);
    let fs_directory = tempfile::tempdir().unwrap();
    let run = |image: &str| {
        let mut command = newroot();
        command.args(["run", "--fs"]).arg(fs_directory.path()).args([image, "sh", "-c", "echo it runs as $$"]);
        command.env("NEWROOT_REGISTRY", registry.url()).output().unwrap()
    };
    for pulls in [true, false] {
        let output = run("busybox");
        assert!(output.status.success(), "{}", text_of(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it runs as 1\n", "nothing else on standard output");
        assert_eq!(text_of(&output).contains("pulling it"), pulls, "{}", text_of(&output));
    }
    assert_eq!(names_in(&fs_directory.path().join("busybox")), [".config.json", ".manifest-digest", "rootfs"]);
    let output = run("missing");
    assert_eq!(output.status.code(), Some(125));
    assert!(text_of(&output).contains("has no image library/missing:latest"), "{}", text_of(&output));
    assert_eq!(names_in(fs_directory.path()), ["busybox"], "a failed pull leaves nothing");
}

#[test]
fn an_image_says_how_it_wants_to_be_run() {
    let registry = Registry::start();
    let files = || {
        Layer::new()
            .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
            .file("etc/group", "root:x:0:\nweb:x:34:\nlog:x:40:web\n")
            .directory("srv")
    };
    let fs_directory = tempfile::tempdir().unwrap();
    let run = |name: &str, config: serde_json::Value, command: &[&str]| {
        registry.push_configured(&format!("library/{name}"), &[busybox().gzip(), files().gzip()], config);
        let output = pull(&registry.url(), fs_directory.path(), name);
        assert!(output.status.success(), "{}", text_of(&output));
        newroot().args(["run", "--fs"]).arg(fs_directory.path()).arg(name).args(command).output().unwrap()
    };
    let said = |output: std::process::Output| {
        assert!(output.status.success(), "{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let config = serde_json::json!({
        "Env": ["GREETING=hello you", "PATH=/srv:/bin"], "WorkingDir": "/srv", "User": "web",
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["pwd; busybox id -u; busybox id -g; busybox id -G; echo $GREETING $PATH $HOME $$; grep CapEff /proc/1/status || true"]
    });
    assert_eq!(said(run("full", config.clone(), &[])), "/srv\n33\n34\n34 40\nhello you /srv:/bin /srv 1\n");
    assert_eq!(said(run("full", config, &["busybox", "id", "-u"])), "33\n", "a command takes the place of both");
    let ids = ["busybox", "sh", "-c", "busybox id -u; busybox id -G; grep CapEff /proc/self/status; echo $HOME"];
    let as_user = |user: &str| {
        let output = run("user", serde_json::json!({ "User": user }), &["busybox", "id", "-G"]);
        said(output).trim().to_owned()
    };
    assert_eq!(as_user("web:log"), "40");
    assert_eq!(as_user("1000:1001"), "1001");
    assert_eq!(said(run("none", serde_json::json!({ "User": "1000" }), &ids)), "1000\n0\n/\n");
    let output = run("unknown", serde_json::json!({ "User": "nobody" }), &["busybox", "id"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text_of(&output).contains("wants to run as `nobody`"), "{}", text_of(&output));
    let output = run("empty", serde_json::json!({}), &[]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text_of(&output).contains("empty names no program to run"), "{}", text_of(&output));
    // No capability is left to somebody who is not root.
    let output = newroot()
        .args(["run", "--mount", "proc", "--fs"])
        .arg(fs_directory.path())
        .args(["none", "grep", "CapEff", "/proc/self/status"])
        .output()
        .unwrap();
    assert_eq!(said(output).trim_start_matches("CapEff:").trim(), "0000000000000000");
    // An image of a former pull has no configuration: then it is as it was.
    fs::remove_file(fs_directory.path().join("none/.config.json")).unwrap();
    let output = newroot()
        .args(["run", "--fs"])
        .arg(fs_directory.path())
        .args(["none", "busybox", "id", "-u"])
        .output()
        .unwrap();
    assert_eq!(said(output), "0\n");
}

#[test]
fn ps_needs_proc() {
    let machine = Machine::new();
    let output = machine.run(&["busybox", "ps"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "only the heading: {}", text_of(&output));
    let said = machine.output_of(&["--mount", "proc"], "ps");
    assert!(said.lines().nth(1).is_some_and(|line| line.trim_start().starts_with("1 ")), "{said}");
    assert_eq!(names_in(&machine.rootfs().join("proc")), [""; 0], "it is mounted in the container alone");
    // An image's own idea of where /proc is must not lead out of it.
    let outside = tempfile::tempdir().unwrap();
    fs::remove_dir(machine.rootfs().join("proc")).unwrap();
    std::os::unix::fs::symlink(outside.path(), machine.rootfs().join("proc")).unwrap();
    for set in ["proc", "default"] {
        let (status, said) = machine.failure_of(&["--mount", set, "busybox", "ps"]);
        assert_eq!(status, Some(125));
        assert!(said.contains("EEXIST") && said.contains("/proc in the image"), "{said}");
    }
    assert_eq!(names_in(outside.path()), [""; 0]);
}

/// What is asked of a container with `--mount default`, and what it answers in every place where it runs.
const LOOK_AROUND: &str = "busybox ps | busybox head -n 2 | busybox tail -n 1 | busybox awk '{ print $1 }'; \
    busybox df /dev | busybox tail -n 1 | busybox awk '{ print $6 }'; \
    echo lost > /dev/null; busybox head -c 3 /dev/zero | busybox wc -c; \
    ls -d /dev/ptmx /dev/pts/ptmx /dev/fd/0; ls /dev/shm; echo kept > /dev/shm/file; cat /dev/shm/file";
const SEEN: &str = "1\n/dev\n3\n/dev/fd/0\n/dev/ptmx\n/dev/pts/ptmx\nkept\n";

#[test]
fn the_default_mounts_are_dockers() {
    let machine = Machine::new();
    for root in ["chroot", "pivot"] {
        let flags = ["--root", root, "--mount", "default"];
        assert_eq!(machine.output_of(&flags, LOOK_AROUND), SEEN, "{root}");
        let container = Container::start(&machine, &flags, "true");
        let mounts = mounts_of(container.first_process());
        for (place, kind) in [
            ("/proc", "proc"),
            ("/dev", "tmpfs"),
            ("/dev/pts", "devpts"),
            ("/dev/shm", "tmpfs"),
            ("/dev/mqueue", "mqueue"),
            ("/sys", "sysfs"),
            ("/sys/fs/cgroup", "cgroup2"),
        ] {
            assert!(mounts.iter().any(|m| m.mount_point == place && m.fs_type == kind), "{root}: {place}: {mounts:?}");
        }
        container.end();
        let (status, said) =
            machine.failure_of(&[&flags[..], &["busybox", "sh", "-c", "echo 1 > /sys/kernel/mm/ksm/run"]].concat());
        assert!(status != Some(0) && said.contains("Read-only file system"), "{said}");
    }
    assert_eq!(names_in(&machine.rootfs().join("dev")), [""; 0], "nothing gets into the image");
}

#[test]
fn the_default_mounts_leave_out_what_a_user_namespace_may_not_have() {
    let machine = Machine::new();
    for root in ["chroot", "pivot"] {
        let mut command = Command::new("unshare");
        let inner = machine.run(&["--root", root, "--mount", "default", "busybox", "sh", "-c", LOOK_AROUND]);
        let output = command
            .args(["--user", "--map-root-user", "--mount"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), SEEN, "{root}: {}", text_of(&output));
        // Its network namespace is still the machine's, and sysfs would show that one's devices.
        assert!(text_of(&output).contains("Left out /sys: cannot mount(2) sysfs"), "{}", text_of(&output));
    }
}

#[test]
fn the_terminal_has_a_name_in_the_container() {
    let machine = Machine::new();
    for root in ["chroot", "pivot"] {
        let pty = nix::pty::openpty(None, None).unwrap();
        let mut command = machine.run(&["--root", root, "--mount", "default", "busybox", "tty"]);
        let output = command.stdin(pty.slave).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/dev/console\n", "{root}: {}", text_of(&output));
        let output = machine.run(&["--root", root, "--mount", "default", "busybox", "tty"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "not a tty\n", "{root}: {}", text_of(&output));
    }
}

#[test]
fn a_mount_in_the_container_is_not_seen_outside() {
    let machine = Machine::new();
    let container = Container::start(&machine, &[], "mount -t tmpfs only-inside /mnt");
    let (inside, parent) = (container.first_process(), container.process.id());
    let has_it = |mounts: Vec<Mount>| mounts.iter().any(|mount| mount.source == "only-inside");
    assert!(has_it(mounts_of(inside)));
    assert!(!has_it(mounts_of("self")));
    for kind in ["mnt", "pid", "uts", "ipc"] {
        assert_ne!(namespace_of(inside, kind), namespace_of("self", kind), "{kind}");
        assert_eq!(namespace_of(parent, kind), namespace_of("self", kind), "{kind}: the parent stays outside");
    }
    let root = fs::read_link(format!("/proc/{inside}/root")).unwrap();
    assert_eq!(root, machine.rootfs());
    container.end();
}

/// Runs a container in a machine of its own: a mount namespace in which `/` is shared, as under systemd. Says whether
/// a mount made in the container has come out of it.
fn leaks(machine: &Machine, flags: &str) -> bool {
    let script = format!(
        "{newroot} run --fs {fs} {flags} busybox mount -t tmpfs leaked /mnt || exit 9; grep -c ' leaked ' /proc/self/mountinfo",
        newroot = env!("CARGO_BIN_EXE_newroot"),
        fs = machine.fs.path().display()
    );
    let output =
        Command::new("unshare").args(["--mount", "--propagation", "shared", "sh", "-c", &script]).output().unwrap();
    match (output.status.code(), output.stdout.as_slice()) {
        (Some(0), b"1\n") => true,
        (Some(1), b"0\n") => false,
        _ => panic!("{flags}: {}", text_of(&output)),
    }
}

#[test]
fn what_is_mounted_leaks_by_propagation_or_without_a_namespace_and_not_otherwise() {
    let machine = Machine::new();
    assert!(!leaks(&machine, ""));
    assert!(!leaks(&machine, "--propagation private"));
    assert!(!leaks(&machine, "--propagation slave"));
    assert!(leaks(&machine, "--propagation shared"));
    assert!(leaks(&machine, "--propagation unchanged"));
    assert!(leaks(&machine, "--no-mount-ns"));
    assert!(!mounts_of("self").iter().any(|mount| mount.source == "leaked"), "this machine stays clean");
}

#[test]
fn pivot_root_leaves_no_other_mount_in_reach() {
    let machine = Machine::new();
    let container = Container::start(&machine, &["--root", "pivot", "--mount", "proc"], "true");
    let mounts = mounts_of(container.first_process());
    let places: Vec<&str> = mounts.iter().map(|mount| mount.mount_point.as_str()).collect();
    assert_eq!(places, ["/", "/proc"]);
    assert!(machine.rootfs().as_os_str().as_bytes().ends_with(mounts[0].root.as_bytes()), "{}", mounts[0].root);
    container.end();
    // chroot(2) moves the view alone: the old root is still mounted, so `/` is no mount in the new view.
    let container = Container::start(&machine, &["--mount", "proc"], "true");
    let mounts = mounts_of(container.first_process());
    assert_eq!(mounts.iter().map(|mount| mount.mount_point.as_str()).collect::<Vec<_>>(), ["/proc"]);
    container.end();
    let (status, said) = machine.failure_of(&["--root", "pivot", "--no-mount-ns", "busybox", "sh"]);
    assert_eq!(status, Some(125), "{said}");
    let (_, said) = machine.failure_of(&["--root", "pivot", "--propagation", "shared", "busybox", "sh"]);
    assert!(said.contains("pivot_root(2)") && said.contains("EINVAL"), "{said}");
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

#[test]
fn every_step_of_the_taught_code_has_one_marker() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/runtime");
    let mut steps: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some(OsStr::new("rs")))
        .flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| line.trim_start().strip_prefix("// step: ").map(str::to_owned))
        .collect();
    steps.sort();
    let expected = [
        "apply-layer",
        "change-root",
        "mount-default",
        "mount-proc",
        "new-mount-namespace",
        "pivot-root",
        "propagation",
        "pull-image",
        "put-entry",
        "run-command",
        "set-up-container",
        "switch-user",
        "terminal",
    ];
    assert_eq!(steps, expected);
}
