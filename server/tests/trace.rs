//! The calls that a lab sees, with their arguments and results, as a page is told of them. Runs as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::path::Path;

use common::page::arguments;
use common::playground::{HOST, Page, Playground};
use shared::protocol::ToLab;
use shared::trace::{Call, CallState, MOST_CALLS};

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
        println!("{}({}) {:?} {:?}", waiting.name, arguments(&waiting), waiting.line, over.state);
        assert_eq!(waiting.name, name);
        assert!(arguments(&waiting).contains(words), "{waiting:?}");
        match line {
            Some(line) => assert!(source(&waiting).contains(line), "{} is not {line}", source(&waiting)),
            None => assert_eq!(waiting.line, None),
        }
        assert!(matches!(over.state, CallState::Returned { .. }), "{over:?}");
        println!("  {:?} {:?}", over.changes, over.warnings);
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
