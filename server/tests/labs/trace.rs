//! The calls that a lab sees, with their arguments and results, as a page is told of them.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use shared::protocol::{ToLab, ViewId};
use shared::trace::{Call, CallKind, CallState, MOST_CALLS};

use crate::common::page::arguments;
use crate::common::playground::{CONTAINER, HOST, Page, Playground};

/// What a call came to, in a word: its value, or its errno.
fn outcome(page: &Page, name: &str, words: &str) -> Option<String> {
    match &page.call(name, words)?.state {
        CallState::Returned { value } => Some(value.to_string()),
        CallState::Failed { errno, .. } => Some(errno.clone()),
        CallState::Unseen { why } => Some(format!("unseen: {why}")),
        CallState::Waiting | CallState::Made | CallState::Ended => None,
    }
}

#[tokio::test]
async fn calls_of_busybox_are_told_with_their_arguments_and_results() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    for (command, name, words, result) in [
        ("mount -t tmpfs mine /mnt", "mount", r#""mine", "/mnt", "tmpfs", MS_SILENT, "#, "0"),
        ("umount /mnt", "umount2", r#""/mnt", 0"#, "0"),
        ("umount /mnt", "umount2", r#""/mnt", 0"#, "EINVAL"),
        ("mount -t nosuch x /mnt", "mount", r#""x", "/mnt", "nosuch""#, "ENODEV"),
        ("unshare -m true", "unshare", "CLONE_NEWNS", "0"),
        ("unshare -m true", "mount", r#""none", "/", NULL, MS_REC | MS_PRIVATE"#, "0"),
        ("chroot /nowhere true", "chroot", r#""/nowhere""#, "ENOENT"),
        ("chroot / true", "chroot", r#""/""#, "0"),
        ("pivot_root /mnt /mnt", "pivot_root", r#""/mnt", "/mnt""#, "EINVAL"),
        ("hostname other", "sethostname", r#""other", 5"#, "0"),
        ("hostname lab", "sethostname", r#""lab", 3"#, "0"),
        ("/bin/busybox true", "execve", r#""/bin/busybox", ["/bin/busybox", "true"]"#, "0"),
        ("nsenter -m/proc/$$/ns/mnt true", "setns", "CLONE_NEWNS", "0"),
    ] {
        page.calls.clear();
        page.output_of(HOST, command).await;
        let told = |page: &Page| outcome(page, name, words).is_some_and(|outcome| outcome == result);
        page.until(&format!("{command}: {name}({words}) = {result}"), told).await;
    }
}

/// Lets the call that waits be made, and returns it as it was then and as it has become.
async fn next(page: &mut Page, what: &str) -> (Call, Call) {
    page.until(what, |page| page.waiting().is_some()).await;
    let waiting = page.waiting().unwrap().clone();
    page.tell(&ToLab::Next { call: waiting.id }).await;
    let is_over = |page: &Page| !matches!(page.calls[&waiting.id].state, CallState::Waiting | CallState::Made);
    page.until(&format!("the end of {waiting:?}"), is_over).await;
    (waiting.clone(), page.calls[&waiting.id].clone())
}

/// The source text at the line that makes a call.
fn source(call: &Call) -> String {
    let Some(line) = &call.line else { panic!("no line: {call:?}") };
    let text = std::fs::read_to_string(Path::new("src/runtime").join(&line.file)).unwrap();
    format!(
        "{}: {}",
        line.step.as_deref().unwrap_or("no step"),
        text.lines().nth(line.line as usize - 1).unwrap().trim()
    )
}

#[tokio::test]
async fn each_call_of_the_runtime_is_shown_at_its_line() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(page.output_of(HOST, "newroot pull busybox").await.contains("Pulling done"));
    page.tell(&ToLab::StepThrough { on: true }).await;
    page.until("step-through", |page| page.stepping == Some(true)).await;
    page.run(HOST, "newroot run --root pivot --mount proc --hostname inner busybox /bin/sh -c 'echo =in\"\"side='")
        .await;
    for (name, words, line) in [
        ("execve", r#""/usr/local/bin/newroot", ["newroot", "run""#, None),
        ("clone", "CLONE_NEWNS | CLONE_NEWUTS", Some("new-mount-namespace: let child = process::clone(namespaces")),
        (
            "execve",
            r#""/proc/self/exe", ["newroot", "child""#,
            Some("let Err(errno) = execv(c\"/proc/self/exe\", command)"),
        ),
        ("sethostname", "inner", Some("set-up-container: sethostname(name)")),
        ("mount", "MS_REC | MS_PRIVATE", Some("propagation: mount(NONE, \"/\", NONE, MsFlags::MS_REC | flag")),
        ("mount", r#""proc", MS_NOSUID"#, Some("mount-default: mount(Some(kind)")),
        ("mount", r#"/fs/busybox/rootfs", NULL, MS_BIND | MS_REC"#, Some("pivot-root: mount(Some(rootfs), rootfs")),
        ("pivot_root", r#"".", ".""#, Some("pivot-root: nix::unistd::pivot_root(\".\"")),
        ("umount2", r#"".", MNT_DETACH"#, Some("pivot-root: umount2(\".\", MntFlags::MNT_DETACH)")),
        ("execve", r#""/bin/sh", ["/bin/sh", "-c""#, Some("run-command: command.exec()")),
    ] {
        let (waiting, over) = next(&mut page, name).await;
        assert_eq!(waiting.name, name);
        assert!(arguments(&waiting).contains(words), "{waiting:?}");
        match line {
            Some(line) => assert!(source(&waiting).contains(line), "{} is not {line}", source(&waiting)),
            None => assert_eq!(waiting.line, None),
        }
        assert!(matches!(over.state, CallState::Returned { .. }), "{over:?}");
        if name == "clone" {
            assert!(!over.changes.is_empty(), "the copies of a namespace's rows: {over:?}");
        }
    }
    page.until("its output", |page| page.text_since(HOST, 0).contains("=inside=")).await;
    page.tell(&ToLab::StepThrough { on: false }).await;
}

#[tokio::test]
async fn step_through_holds_each_call_until_somebody_says_next() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.tell(&ToLab::StepThrough { on: true }).await;
    page.until("step-through", |page| page.stepping == Some(true)).await;
    page.run(HOST, "unshare -m true; echo =ou\"\"t=").await;
    let mut seen = Vec::new();
    for expected in ["execve", "unshare", "mount", "execve"] {
        page.until(expected, |page| page.waiting().is_some()).await;
        let call = page.waiting().unwrap().clone();
        assert_eq!(call.name, expected, "after {seen:?}");
        seen.push(format!("{}({})", call.name, arguments(&call)));
        page.tell(&ToLab::Next { call: call.id }).await;
        page.until("its result", |page| page.calls[&call.id].state == CallState::Returned { value: 0 }).await;
    }
    page.until("the end of the command", |page| page.text_since(HOST, 0).contains("=out=")).await;
    page.run(HOST, "/bin/busybox true; echo =ag\"\"ain=").await;
    page.until("another call", |page| page.waiting().is_some()).await;
    page.tell(&ToLab::StepThrough { on: false }).await;
    page.until("the end of the command", |page| page.text_since(HOST, 0).contains("=again=")).await;
    assert!(page.calls.len() <= MOST_CALLS && page.stepping == Some(false));
}

#[tokio::test]
async fn a_call_tells_what_it_changed_and_a_row_who_made_it() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    // A peer group, and a copy of the namespace that gets its mount events.
    page.output_of(HOST, "mount --make-rshared /; mkdir -p /srv/here").await;
    page.run(CONTAINER, "unshare --mount --propagation slave sh").await;
    page.until("a copy", |page| page.views.values().any(|(view, _)| view.ordinal == 1)).await;
    let id = |page: &Page, ordinal: u32| {
        page.views.values().find(|(view, _)| view.ordinal == ordinal).map(|(view, _)| view.id).unwrap()
    };
    let (here, there) = (id(&page, 0), id(&page, 1));
    let is_copied = |page: &Page| {
        let (_, rows) = &page.views[&there];
        rows.iter().all(|row| page.origins.get(&(there, row.id)).is_some_and(|o| o.copied && o.name == "unshare"))
    };
    page.until("the origins of the copies", is_copied).await;
    page.output_of(HOST, "mount -t tmpfs mine /srv/here").await;
    let row = |page: &Page, view: ViewId| {
        page.views[&view].1.iter().find(|row| row.mount_point == "/srv/here").map(|row| row.id)
    };
    let origin = |page: &Page, view: ViewId| Some(page.origins.get(&(view, row(page, view)?))?.clone());
    page.until("origins of both rows", |page| origin(page, here).is_some() && origin(page, there).is_some()).await;
    let call = page.call("mount", "/srv/here").unwrap().clone();
    let (made, carried) = (origin(&page, here).unwrap(), origin(&page, there).unwrap());
    assert!(made.call == call.id && carried.call == call.id && made.process.program == "mount");
    assert!(made.carried_by.is_none() && carried.carried_by.is_some() && !made.copied && !carried.copied);
    assert_eq!(call.changes.iter().map(|change| change.view).collect::<Vec<_>>(), [here, there]);
    let group = carried.carried_by.unwrap().0;
    assert!(call.warnings.iter().any(|warning| warning.contains(&format!("peer group {group}"))), "{call:?}");
    page.output_of(HOST, "umount /srv/here").await;
    page.until("its rows went", |page| {
        page.call("umount2", "/srv/here").is_some_and(|call| call.changes.iter().all(|change| change.went.len() == 1))
    })
    .await;
}

#[tokio::test]
async fn a_container_without_a_mount_namespace_leaks_and_is_told_so() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(page.output_of(HOST, "newroot pull busybox").await.contains("Pulling done"));
    page.output_of(HOST, "newroot run --no-mount-ns --mount proc busybox true").await;
    let call = page.call("mount", r#""proc""#).expect("told before the prompt").clone();
    assert!(call.warnings.iter().any(|warning| warning.contains("the host's mount namespace")), "{call:?}");
    let view = page.views.values().find(|(view, _)| view.ordinal == 0).unwrap().0.id;
    let leaked = |page: &Page| {
        let row = page.views[&view].1.iter().find(|row| row.mount_point == "/fs/busybox/rootfs/proc")?;
        page.origins.get(&(view, row.id)).cloned()
    };
    page.until("the origin of the leaked row", |page| leaked(page).is_some()).await;
    let origin = leaked(&page).unwrap();
    assert!(origin.call == call.id && origin.process.program == "newroot" && origin.line == call.line, "{origin:?}");
    assert_eq!(call.line.unwrap().file, "mounts.rs");
}

#[tokio::test]
async fn a_call_that_fails_tells_why_and_one_without_effect_warns() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.output_of(HOST, "mkdir -p /srv/a /srv/b; touch /srv/file; ln -s /nowhere /bin/dangling").await;
    page.output_of(HOST, "printf '#!/bin/nothing\\n' > /bin/script; chmod +x /bin/script; touch /bin/plain").await;
    for (command, name, words, why) in [
        ("pivot_root /srv/a /srv/a", "pivot_root", "/srv/a", "/srv/a, is not a mount point"),
        ("umount /srv/a", "umount2", "/srv/a", "/srv/a is not a mount point"),
        ("mount -t nosuch x /srv/a", "mount", "nosuch", r#"no file system called "nosuch""#),
        ("mount -t tmpfs x /srv/none/deep", "mount", "/srv/none", "there is no /srv/none"),
        ("mount -t tmpfs x /srv/file/deep", "mount", "/srv/file", "/srv/file is no directory"),
        ("cd /srv; mount --make-private a; cd", "mount", r#""a""#, "/srv/a is not a mount point"),
        ("chroot / /bin/bash", "execve", "/bin/bash", "this image has no /bin/bash; it has /bin/sh"),
        ("chroot / /opt/true", "execve", "/opt/true", "this image has no /opt/true; it has /bin/true"),
        ("chroot / /bin/script", "execve", "/bin/script", r#"it wants "/bin/nothing""#),
        ("chroot / /bin/plain", "execve", "/bin/plain", "is not executable"),
        ("chroot / /srv", "execve", r#""/srv""#, "/srv is a directory"),
        ("cd /dev; umount /dev; cd", "umount2", "/dev", "another mount lies on it"),
    ] {
        page.calls.clear();
        page.output_of(HOST, command).await;
        let told = |page: &Page| match page.call(name, words).map(|call| &call.state) {
            Some(CallState::Failed { why: Some(told), .. }) => told.contains(why),
            _ => false,
        };
        let calls: Vec<_> = page.calls.values().map(|call| (&call.name, arguments(call), &call.state)).collect();
        assert!(told(&page), "{command}: {calls:?}");
    }
    for (command, name, words, warning) in [
        ("mount -o bind,ro /srv/a /srv/b", "mount", "MS_BIND", "MS_RDONLY had no effect"),
        ("unshare --pid true", "unshare", "CLONE_NEWPID", "stays in its PID namespace"),
        ("cd /; chroot /srv/a true; cd", "chroot", "/srv/a", "still outside /srv/a"),
    ] {
        page.calls.clear();
        page.output_of(HOST, command).await;
        let calls: Vec<_> = page.calls.values().map(|call| (&call.name, arguments(call), &call.warnings)).collect();
        let told = page.calls.values().any(|call| {
            call.name == name
                && arguments(call).contains(words)
                && call.warnings.iter().any(|told| told.contains(warning))
        });
        assert!(told, "{command}: {calls:?}");
    }
}

#[tokio::test]
async fn a_pull_is_followed_through_its_steps_and_other_programs_connections_are_not_told() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(
        page.output_of(HOST, "nc 127.0.0.1 9; mv /etc/hostname /etc/moved; echo =af\"\"ter=").await.contains("=after=")
    );
    page.tell(&ToLab::StepThrough { on: true }).await;
    page.until("step-through", |page| page.stepping == Some(true)).await;
    page.run(HOST, "newroot pull busybox").await;
    next(&mut page, "execve").await;
    page.until("the end of the pull", |page| page.text_since(HOST, 0).contains("Pulling done")).await;
    page.tell(&ToLab::StepThrough { on: false }).await;
    let steps: Vec<_> = page.calls.values().filter(|call| call.kind == CallKind::Step).collect();
    assert!(steps.iter().all(|call| call.process.program == "newroot"), "{steps:?}");
    let lines: Vec<_> = steps.iter().filter(|call| call.line.is_some()).map(|call| source(call)).collect();
    let mut rest = lines.iter();
    for line in ["choose-manifest: ", "download-layer: let file = scratch.file()", "pull-image: place.finish(&digest)?"]
    {
        assert!(rest.any(|told| told.starts_with(line)), "{line} is not among {steps:?}, {lines:?}");
    }
}

/// Prints what it costs; the numbers are in ARCHITECTURE.md.
#[tokio::test]
async fn a_thousand_programs_are_executed_with_and_without_the_trace() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    let script = "for i in $(seq 1000); do /bin/busybox true; done";
    let began = Instant::now();
    page.output_of(HOST, script).await;
    let traced = began.elapsed();
    let began = Instant::now();
    let status = Command::new("/bin/busybox").args(["sh", "-c", script]).status().unwrap();
    let untraced = began.elapsed();
    assert!(status.success() && page.calls.len() >= MOST_CALLS);
    println!("fork and exec, a thousand times: traced {traced:?}, on the machine itself {untraced:?}");
}
