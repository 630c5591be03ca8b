//! `newroot doctor` on machines that lack something: this one, with that taken away from the doctor alone.

use std::net::TcpListener;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::common::playground::{HOST, Playground};
use crate::common::{newroot, text_of};

/// A registry that refuses at once; tests must not ask a real one.
const NOBODY: &str = "--upstream http://127.0.0.1:9";

/// Runs a verb with these flags in a mount namespace of its own, after a shell has prepared it. In both `DIR` is a new
/// directory.
fn run(verb: &str, prepare: &str, flags: &str) -> Output {
    let directory = TempDir::new().unwrap();
    let line = format!(
        "{prepare} {binary} {verb} --state DIR/state --run DIR/run --listen 127.0.0.1:0 {NOBODY} {flags}",
        binary = env!("CARGO_BIN_EXE_newroot")
    );
    let line = line.replace("DIR", directory.path().to_str().unwrap());
    // A server that works after all would not end.
    Command::new("unshare").args(["--mount", "timeout", "60", "sh", "-c", &line]).output().unwrap()
}

#[test]
fn this_machine_has_all_that_labs_need_and_is_as_it_was() {
    // The directory as a former server leaves it; nobody but root reaches what is below DIR.
    let prepare = "mkdir DIR/run; cp /proc/self/mountinfo DIR/before;";
    let output = run("doctor", prepare, "&& cmp DIR/before /proc/self/mountinfo");
    let said = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.ends_with("`newroot serve` will work here.\n") && !said.contains("LACKS"), "{said}");
    for what in
        ["root", "kernel", "user ids", "namespaces", "overlay", "id mappings", "seccomp", "cgroups", "port", "disk"]
    {
        assert!(said.lines().any(|line| line.starts_with(&format!("ok    {what}: "))), "{what}: {said}");
    }
    // That no registry answers is worth a note, and no more.
    assert!(said.contains("note  registry: 127.0.0.1:9 cannot be reached: Connection refused"), "{said}");
}

#[test]
fn whatever_is_missing_has_a_line_with_its_mend() {
    for (prepare, flags, lacks, mend) in [
        ("setpriv --reuid 1000 --clear-groups", "", "root: this is user 1000", "start it with sudo"),
        ("setpriv --bounding-set -sys_ptrace", "", "root: without SYS_PTRACE", "--cap-add SYS_PTRACE"),
        ("setpriv --bounding-set -chown", "", "root: without CHOWN", "--cap-add CHOWN"),
        ("setpriv --bounding-set -mknod", "", "root: without MKNOD", "--cap-add MKNOD"),
        (
            "mount -t ramfs ramfs DIR;",
            "",
            "id mappings: Invalid argument",
            "put --state on ext4, xfs, btrfs or a tmpfs",
        ),
        (
            "mount --bind /etc/hostname /proc/version;",
            "",
            "proc and sysfs: Operation not permitted",
            "unmount what covers a part of /proc or /sys",
        ),
        ("umount -l /sys/fs/cgroup;", "", "cgroups: no cgroup hierarchy offers", "controllers memory, pids and cpu"),
        ("mount -t tmpfs -o ro tmpfs DIR;", "", "state directory: ", "make it writable for root"),
        ("mount -t tmpfs -o ro tmpfs DIR;", "", "run directory: ", "name another one by --run"),
        ("mount -t tmpfs -o ro tmpfs /run;", "", "user ids: /run/newroot-uids: ", "make /run writable for root"),
        ("mount -t tmpfs -o size=1m tmpfs DIR;", "", "disk: 1 MB free", "free some, or name another --state"),
        ("", "--lab-memory 100000000", "memory: ", "allow a lab less by --lab-memory"),
    ] {
        let output = run("doctor", prepare, flags);
        let said = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{prepare} {flags}: {said}");
        let mut lines = said.lines().skip_while(|line| !line.starts_with(&format!("LACKS {lacks}")));
        assert!(lines.next().is_some(), "{prepare} {flags}: {lacks} is not in {said}");
        assert!(lines.next().is_some_and(|line| line.contains(mend)), "{prepare} {flags}: {mend} is not in {said}");
        assert!(said.contains("`newroot serve` will not work here"), "{said}");
        // The server says the same lines at its start, and no panic does.
        let output = run("serve", prepare, flags);
        let said = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "serve, {prepare} {flags}: {said}");
        assert!(said.contains(lacks) && said.contains(mend) && said.contains("no lab would work here"), "{said}");
        assert!(!said.contains("panicked") && !said.contains("ok    "), "{said}");
    }
}

#[test]
fn user_namespaces_that_are_forbidden_are_named_by_their_setting() {
    // The setting is one of each user namespace: taken away in a new one.
    let script =
        format!("echo 0 > /proc/sys/user/max_user_namespaces; exec {} doctor {NOBODY}", env!("CARGO_BIN_EXE_newroot"));
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    let said = text_of(&command.output().unwrap());
    let mut lines = said.lines().skip_while(|line| !line.starts_with("LACKS namespaces: "));
    assert!(lines.next().is_some(), "{said}");
    assert!(lines.next().is_some_and(|line| line.contains("sysctl -w user.max_user_namespaces=")), "{said}");
}

#[tokio::test]
async fn a_lab_is_no_machine_for_labs_and_says_so() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    let said = page.output_of(HOST, &format!("newroot doctor {NOBODY}; echo status=$?")).await;
    assert!(said.contains("status=1\r\n") && said.contains("LACKS seccomp: "), "{said}");
    assert!(said.contains("ok    root: ") && said.contains("`newroot serve` will not work here"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for verb in ["doctor", "serve"] {
        let directory = TempDir::new().unwrap();
        let mut command = newroot();
        command.args([verb, "--listen", &address, "--upstream", "http://127.0.0.1:9"]);
        command.arg("--state").arg(directory.path().join("state")).arg("--run").arg(directory.path().join("run"));
        let output = command.output().unwrap();
        let said = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("LACKS port: cannot listen on {address}: ")) && said.contains("--listen"),
            "{said}"
        );
    }
}
