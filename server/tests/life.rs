//! The life of labs: remade, ended, warned, found again, and told of their end. Runs as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use common::playground::{CONTAINER, HOST, Page, Playground, has_row};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::protocol::ToLab;

/// Processes in the cgroup of a playground's only lab, by what /proc says.
fn processes(playground: &Playground) -> BTreeSet<i32> {
    let names = common::names_in(&playground.labs());
    assert_eq!(names.len(), 1, "{names:?}");
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let inside = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroups| cgroups.contains(names[0].as_str()))
    };
    all.filter(inside).collect()
}

fn command_line(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ").trim().to_owned()
}

/// The process of the playground's only lab that serves it: the zygote's parent.
fn lab_process(playground: &Playground) -> i32 {
    let all = processes(playground);
    *all.iter().find(|pid| command_line(**pid) == "newroot lab").expect("a lab process")
}

fn descriptors(pid: i32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    links.map(|link| fs::read_link(link.unwrap().path()).map_or(String::new(), |to| to.display().to_string())).collect()
}

/// PID 1 of the playground's only lab, if there is just one.
fn init_process(playground: &Playground) -> Option<i32> {
    let all: Vec<i32> = processes(playground).into_iter().filter(|pid| command_line(*pid) == "newroot init").collect();
    (all.len() == 1).then(|| all[0])
}

const CLEARED: &str = "\u{1b}c";

/// Asks for a reset and waits for a prompt in each terminal after it.
async fn reset(page: &mut Page) {
    let before = [HOST, CONTAINER].map(|terminal| (terminal, page.output.get(&terminal).map_or(0, Vec::len)));
    page.tell(&ToLab::Reset).await;
    let done = move |page: &Page| {
        before.iter().all(|(terminal, before)| {
            let text = page.text_since(*terminal, *before);
            text.rsplit_once(CLEARED).is_some_and(|(_, text)| text.contains("was reset") && text.contains("# "))
        })
    };
    page.until("a new shell in both terminals", done).await;
}

#[tokio::test]
async fn a_reset_is_a_new_machine_in_the_old_ones_place() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    let machine = page.machine.clone();
    page.run(CONTAINER, "unshare --mount --pid --fork sh").await;
    page.until("a second view", |page| page.views.len() == 2).await;
    page.run(CONTAINER, "mount -t tmpfs tmpfs /mnt; touch /mnt/mine; (trap '' HUP TERM; sleep 1000) & yes").await;
    page.until("a flood", |page| page.ends[&CONTAINER].0 > 500_000).await;
    page.run(HOST, "touch /root/mine; (setsid sh -c 'trap \"\" HUP TERM; sleep 1000') & mount -t tmpfs tmpfs /opt")
        .await;
    page.until("the host's row", |page| page.views.values().any(|(_, rows)| has_row(rows, "/opt", "tmpfs"))).await;
    page.run(HOST, "printf '\\033[?1049h'; vi /root/mine").await;
    page.until("an editor", |page| page.text_since(HOST, 0).contains("/root/mine")).await;

    let lab = lab_process(&playground);
    let is_ours = |pid: &i32| command_line(*pid) == "newroot lab";
    let (ours, theirs): (BTreeSet<i32>, BTreeSet<i32>) = processes(&playground).into_iter().partition(is_ours);
    assert!(theirs.len() > 6, "the test sees the learner's processes: {theirs:?}");
    let views: BTreeSet<_> = page.views.keys().copied().collect();
    let held = (descriptors(lab).len(), descriptors(playground.pid().as_raw()).len());

    reset(&mut page).await;
    page.until("the new view alone", |page| {
        page.views.len() == 1 && page.views.keys().all(|view| !views.contains(view))
    })
    .await;
    let after = processes(&playground);
    assert!(after.is_disjoint(&theirs), "{theirs:?} before, {after:?} after");
    assert!(after.is_superset(&ours), "the lab and its zygote go on");
    let (host, rows) = page.views.values().next().unwrap().clone();
    assert_eq!((host.ordinal, host.root.as_str()), (0, "/"));
    assert!(has_row(&rows, "/", "overlay") && !has_row(&rows, "/opt", "tmpfs"));
    assert_eq!(page.output_of(HOST, "ls /root /mnt").await.matches("mine").count(), 0);
    assert_eq!(page.machine, machine, "terminals go on at the byte, so pages know it as the same");
    // The mirror listens in the new network namespace, and the server serves it there.
    assert!(page.output_of(CONTAINER, "newroot pull busybox").await.contains("Pulling done"));

    // Again and again: nothing adds up, neither here nor in the server.
    let mut times = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        reset(&mut page).await;
        times.push(begun.elapsed());
    }
    times.sort();
    println!(
        "reset, from the message to the prompts of two new shells: {:?} median, {:?} at most",
        times[10], times[19]
    );
    assert!(page.output_of(CONTAINER, "newroot pull busybox").await.contains("Pulling done"));
    page.until("the new view alone", |page| page.views.len() == 1).await;
    let now = (descriptors(lab).len(), descriptors(playground.pid().as_raw()).len());
    assert!(now.0 <= held.0 && now.1 <= held.1 + 1, "{now:?} descriptors, {held:?} before");
    // A page that comes later sees what this one sees.
    let mut late = playground.open(&cookie).await;
    assert!(late.text_since(HOST, 0).contains("was reset"));
    assert!(late.output_of(HOST, "ls /root").await.contains("bin"));
}

#[tokio::test]
async fn resets_at_once_from_two_pages_while_pid_1_resists_are_one_reset_each_time() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    let mut second = playground.open(&cookie).await;
    // A PID 1 that does not listen to anybody, whatever the learner has made of it.
    kill(Pid::from_raw(init_process(&playground).unwrap()), Signal::SIGSTOP).unwrap();
    for _ in 0..20 {
        page.tell(&ToLab::Reset).await;
        second.tell(&ToLab::Reset).await;
    }
    // When the lab has answered these, it has heard all that was said before.
    page.close().await;
    second.close().await;
    let mut page = playground.open(&cookie).await;
    page.until("one machine", |page| {
        let init = init_process(&playground);
        let namespace = init.and_then(|init| Some(fs::metadata(format!("/proc/{init}/ns/mnt")).ok()?.ino()));
        page.views.values().any(|(view, _)| Some(view.mount_namespace) == namespace)
            && page.terminals[&HOST].running
            && page.text_since(HOST, 0).rsplit(CLEARED).next().is_some_and(|text| text.contains("# "))
    })
    .await;
    assert!(page.output_of(HOST, "newroot pull busybox").await.contains("Pulling done"));
}
