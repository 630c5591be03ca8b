//! `newroot run` on the real kernel, as root: what a container is, and what an image makes of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "../common/mod.rs"]
mod common;
mod errors;
mod machine;
mod mounts;
mod signals;
mod terminal;

use std::fs;

use common::{Layer, Registry, busybox, names_in, newroot, pull, text_of};
use machine::{Container, Machine};

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
