//! Every flag and every error of `newroot run`, on this machine and inside a lab: one table for both, of what is typed,
//! the exit status, and what is said.

use std::process::Command;

use serde_json::json;
use tar::EntryType;
use tempfile::TempDir;

use crate::common::playground::{HOST, Playground};
use crate::common::{Layer, Registry, busybox, pull, run_newroot, text_of};
use crate::machine::Machine;

/// What follows `newroot run`, its exit status, and words that are among what it says.
type Case = (&'static str, i32, &'static str);

const FLAGS: &[Case] = &[
    ("tools sh -c 'echo $$ in $(pwd)'", 0, "1 in /"),
    ("tools", 0, "the image's own command"),
    ("--init tools sh -c 'echo $$; exit 3'", 3, "2"),
    ("--hostname box tools hostname", 0, "box"),
    ("--root chroot tools ls -d /bin/only-in-the-image", 0, "/bin/only-in-the-image"),
    ("--root pivot tools ls -d /bin/only-in-the-image", 0, "/bin/only-in-the-image"),
    ("--mount none tools ls /proc/self", 1, "No such file"),
    ("--mount proc tools readlink /proc/self/exe", 0, "/bin/busybox"),
    ("--mount default tools sh -c 'echo $(ls -d /dev/null /dev/pts /proc/1)'", 0, "/dev/null /dev/pts /proc/1"),
    ("--propagation private --mount proc tools grep -c shared: /proc/self/mountinfo", 1, "0"),
    ("--propagation slave --mount proc tools grep -c shared: /proc/self/mountinfo", 1, "0"),
    ("--propagation shared --mount proc tools grep -c shared: /proc/self/mountinfo", 0, "1"),
    ("--propagation unchanged tools sh -c 'exit 4'", 4, ""),
    ("--no-mount-ns tools sh -c 'exit 5'", 5, ""),
    ("tools sh -c 'kill -USR1 1; exit 6'", 6, ""),
    ("--init tools sh -c 'kill -TERM $$'", 143, ""),
];

const ERRORS: &[Case] = &[
    ("tools /bin/bash", 127, "exec /bin/bash in tools: no such file; this image has /bin/sh"),
    ("tools slep", 127, "exec slep in tools: no such file; this image has /bin/sleep"),
    ("--init tools slep", 127, "exec slep in tools: no such file; this image has /bin/sleep"),
    ("tools ./missing/sh", 127, "exec ./missing/sh in tools: no such file; this image has /bin/sh"),
    ("tools /bin/script", 127, "not /bin/missing, which it has to be run by; this image has /bin/sh"),
    ("tools dynamic", 127, "not /lib/ld-missing.so, which it has to be run by"),
    ("tools foreign", 126, "exec foreign in tools: it is built for s390x, and this machine is "),
    ("tools /bin/plain", 126, "ENOEXEC: it is neither machine code nor a script"),
    ("tools /etc/passwd", 126, "EACCES: it may not be executed by anybody (mode 644); chmod +x allows it"),
    ("tools /etc", 126, "EACCES: it is a directory"),
    ("tools /etc/passwd/sh", 126, "exec /etc/passwd/sh in tools: ENOTDIR"),
    ("--root pivot --no-mount-ns tools sh", 125, "leave --no-mount-ns out"),
    ("--root pivot --propagation shared tools sh", 125, "is shared, and the move would have to happen in other"),
    ("--hostname $(busybox seq -s- 40) tools sh", 125, "cannot sethostname(2): EINVAL"),
    ("tols sh", 125, "has no image library/tols:latest"),
    ("nowhere sh", 125, "cannot chdir(2) to /missing, where nowhere wants its command to start: ENOENT"),
    (
        "stranger sh",
        125,
        "wants to run as `nobody`, and its /etc/passwd or /etc/group does not know that name; users: root",
    ),
    ("nothing", 125, "nothing names no program to run; name one after the image"),
    ("../etc sh", 2, "is not an image's name"),
    ("--mount some tools sh", 2, "[possible values: none, proc, default]"),
    ("--root jail tools sh", 2, "[possible values: chroot, pivot]"),
    ("--no-mount-ns --propagation private tools sh", 2, "cannot be used with"),
    ("--colour tools sh", 2, "unexpected argument"),
];

/// A program in ELF, for this kind of machine, that wants this loader.
fn elf(machine: u8, loader: &str) -> Vec<u8> {
    let mut file = vec![0; 0x80];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    (file[16], file[18], file[20]) = (2, machine, 1);
    // One program header at 0x40: PT_INTERP, at 0x80, so long.
    (file[32], file[52], file[54], file[56]) = (0x40, 0x40, 0x38, 1);
    (file[0x40], file[0x48], file[0x60]) = (3, 0x80, loader.len() as u8 + 1);
    file.extend(loader.bytes().chain([0]));
    file
}

/// A registry with the images of the tables.
fn registry() -> Registry {
    let here = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let program = |layer: Layer, name: &str, content: &[u8]| layer.entry(EntryType::Regular, name, 0o755, "", content);
    let layer = program(busybox(), "bin/only-in-the-image", b"");
    let layer = program(layer, "bin/script", b"#!/bin/missing -x\n");
    let layer = program(layer, "bin/plain", b"echo no first line\n");
    let layer = program(layer, "bin/dynamic", &elf(here, "/lib/ld-missing.so"));
    let layer = program(layer, "bin/foreign", &elf(22, "/lib/ld64.so.1"));
    let (tools, plain) = ([layer.gzip()], [busybox().gzip()]);
    let registry = Registry::start();
    registry.push_configured("library/tools", &tools, json!({ "Cmd": ["sh", "-c", "echo the image\\'s own command"] }));
    registry.push_configured("library/nowhere", &plain, json!({ "WorkingDir": "/missing" }));
    registry.push_configured("library/stranger", &plain, json!({ "User": "nobody" }));
    registry.push_configured("library/nothing", &plain, json!({}));
    registry
}

const IMAGES: [&str; 4] = ["tools", "nowhere", "stranger", "nothing"];

#[test]
fn every_flag_and_every_error_on_this_machine() {
    let registry = registry();
    let fs_directory = TempDir::new().unwrap();
    for image in IMAGES {
        let output = pull(&registry.url(), fs_directory.path(), image);
        assert!(output.status.success(), "{}", text_of(&output));
    }
    for (typed, status, words) in FLAGS.iter().chain(ERRORS) {
        // In a mount namespace of its own, so that what leaks does not leak further.
        let line = format!("exec {} run --fs {} {typed}", env!("CARGO_BIN_EXE_newroot"), fs_directory.path().display());
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &line]).env("NEWROOT_REGISTRY", registry.url());
        let output = command.env("DOCKER_CONFIG", "/nonexistent").output().unwrap();
        let said = text_of(&output);
        assert_eq!(output.status.code(), Some(*status), "newroot run {typed}: {said}");
        assert!(said.contains(words), "newroot run {typed}: {words:?} is not in {said}");
    }
}

#[tokio::test]
async fn every_flag_and_every_error_inside_a_lab() {
    let registry = registry();
    let playground = Playground::start(Some(&registry.url()));
    let mut page = playground.open(&playground.new_cookie()).await;
    for image in IMAGES {
        let said = page.output_of(HOST, &format!("newroot pull {image}")).await;
        assert!(said.contains("Pulling done"), "{said}");
    }
    for (typed, status, words) in FLAGS.iter().chain(ERRORS) {
        let said = page.output_of(HOST, &format!("newroot run {typed}; echo status=$?")).await;
        assert!(said.contains(&format!("status={status}\r\n")), "newroot run {typed}: {said}");
        assert!(said.contains(words), "newroot run {typed}: {words:?} is not in {said}");
    }
    // Ctrl-C, at the terminal that a learner types in.
    page.run(HOST, "newroot run tools sh -c 'echo re\"\"ady; exec sleep 1000'; echo status=$?").await;
    page.until("the command", |page| page.text_since(HOST, 0).contains("ready\r\n")).await;
    page.type_keys(HOST, b"\x03").await;
    let is_over = "status=130\r\n";
    page.until("its end", |page| page.text_since(HOST, 0).contains(is_over) && page.has_prompt(HOST)).await;
}

#[test]
fn whoever_may_not_make_namespaces_is_told_why() {
    let machine = Machine::new();
    let run = machine.run(&["busybox", "sh"]);
    // Directories of tests are root's alone.
    assert!(Command::new("chmod").arg("755").arg(machine.fs.path()).status().unwrap().success());
    let as_somebody = |prefix: &[&str]| {
        let mut command = Command::new(prefix[0]);
        let output = command.args(&prefix[1..]).arg(run.get_program()).args(run.get_args()).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{prefix:?}: {}", text_of(&output));
        text_of(&output)
    };
    for (prefix, words) in [
        (&["setpriv", "--reuid", "1000", "--clear-groups"][..], "this is user 1000: start it with sudo"),
        (
            &["unshare", "--user", "--keep-caps", "setpriv", "--bounding-set", "-all", "--inh-caps", "-all"],
            "CAP_SYS_ADMIN",
        ),
        (&["setpriv", "--bounding-set", "-sys_admin"], "which this root does not have"),
    ] {
        let said = as_somebody(prefix);
        assert!(said.contains("cannot clone(2) into new namespaces: EPERM") && said.contains(words), "{said}");
    }
}

#[test]
fn a_root_that_is_no_mount_point_cannot_be_moved() {
    let machine = Machine::new();
    // A machine within the machine: the binary and the image in a tmpfs, entered by chroot(2) where it is no mount.
    let script = format!(
        "mkdir $T/in && cp {binary} $T/in/newroot && cp -a {fs} $T/in/fs && mkdir $T/in/proc && \
         mount -t proc proc $T/in/proc && exec chroot $T/in /newroot run --root pivot --propagation unchanged busybox sh",
        binary = env!("CARGO_BIN_EXE_newroot"),
        fs = machine.fs.path().display()
    );
    let directory = TempDir::new().unwrap();
    let output =
        Command::new("unshare").args(["--mount", "sh", "-c", &script]).env("T", directory.path()).output().unwrap();
    let said = text_of(&output);
    assert!(
        said.contains("pivot_root(2)") && said.contains("EINVAL") && said.contains("as after a chroot(2)"),
        "{said}"
    );
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_with_those_that_are_there() {
    let machine = Machine::new();
    let (status, said) = machine.failure_of(&["--registry", "http://127.0.0.1:1", "busibox", "/bin/sh"]);
    assert_eq!(status, Some(125));
    assert!(said.contains("cannot reach 127.0.0.1:1: Connection refused"), "{said}");
    assert!(said.contains("there is busybox"), "what can be run instead: {said}");
    let output = run_newroot(&["child", "--fs", machine.fs.path().to_str().unwrap(), "busybox", "/bin/sh"]);
    assert_eq!(output.status.code(), Some(125), "the child does nothing outside new namespaces");
}
