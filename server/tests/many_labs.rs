//! Many labs at once, and hostile ones: nothing adds up, and nobody feels their neighbour. Runs as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::page::has_row;
use common::playground::{CONTAINER, HOST, NO_UPSTREAM, Page, Playground};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use shared::protocol::{CLOSE_LAB_ENDED, ToLab};

/// What a server and its helper hold, and what of its labs is on the machine.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    descriptors: usize,
    children: usize,
    mounts: usize,
    labs: usize,
    processes: usize,
    namespaces: usize,
    cgroups: usize,
}

/// Looks for traces of these labs, and at the server.
fn traces(playground: &Playground, labs: &BTreeSet<String>) -> Traces {
    let server = format!("/proc/{}", playground.pid());
    let helper = playground.helper();
    let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &PathBuf| {
        let cgroups = common::cgroups_of(path);
        labs.iter().any(|lab| cgroups.contains(lab.as_str()))
    };
    let processes: Vec<PathBuf> = all.filter(ours).collect();
    let namespaces = |path: &PathBuf| {
        let links = ["mnt", "pid", "net", "uts", "ipc", "cgroup", "user"].map(|kind| path.join("ns").join(kind));
        links.into_iter().filter_map(|link| fs::read_link(link).ok())
    };
    let machine: BTreeSet<PathBuf> = namespaces(&PathBuf::from("/proc/self")).collect();
    let namespaces: BTreeSet<PathBuf> = processes.iter().flat_map(namespaces).collect();
    let mut cgroups = 0;
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                cgroups += usize::from(labs.contains(entry.file_name().to_str().unwrap()));
                directories.push(entry.path());
            }
        }
    }
    Traces {
        descriptors: [playground.pid(), helper]
            .map(|process| fs::read_dir(format!("/proc/{process}/fd")).unwrap().count())
            .iter()
            .sum(),
        // Those of the helper are the labs.
        children: common::children_of(playground.pid()).len() + common::children_of(helper).len() - 1,
        // Others mount on this machine meanwhile; a lab's mounts would be in its directory.
        mounts: fs::read_to_string(format!("{server}/mountinfo"))
            .unwrap()
            .matches(playground.run().to_str().unwrap())
            .count(),
        labs: fs::read_dir(playground.labs()).map_or(0, Iterator::count),
        processes: processes.len(),
        namespaces: namespaces.difference(&machine).count(),
        cgroups,
    }
}

async fn use_lab(page: &mut Page) {
    assert!(page.output_of(HOST, "echo $((40 + 2)) > /root/file; cat /root/file").await.contains("42"));
    page.run(CONTAINER, "unshare --mount sh").await;
    page.until("a second view", |page| page.views.len() == 2).await;
    page.run(CONTAINER, "mount -t tmpfs mine /mnt; sleep 1000 & yes > /dev/null &").await;
    page.until("the mount", |page| page.views.values().any(|(_, rows)| has_row(rows, "/mnt", "tmpfs"))).await;
}

#[tokio::test]
async fn twenty_labs_ten_times_over_leave_nothing() {
    // More than one address may have in that time.
    let mut playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--new-labs-per-minute", "1000000"]);
    fs::create_dir_all(playground.labs()).unwrap();
    let cookies: Vec<String> = (0..20).map(|_| playground.new_cookie()).collect();
    let mut names = BTreeSet::new();
    let mut before = None;
    let mut starts = Vec::new();
    for round in 0..10 {
        let begun = Instant::now();
        let mut pages = join_all(cookies.iter().map(|cookie| playground.open(cookie))).await;
        starts.push(begun.elapsed() / 20);
        names.extend(common::names_in(&playground.labs()));
        join_all(pages.iter_mut().map(use_lab)).await;
        if round == 0 {
            let during = traces(&playground, &names);
            println!("with 20 labs: {during:?}");
            assert!(during.labs == 20 && during.processes >= 20 * 7 && during.cgroups >= 20, "{during:?}");
            assert!(during.namespaces >= 20 * 8, "{during:?}");
        }
        // One is ended by its learner, the next from the command line, as it comes.
        let run = playground.run();
        std::thread::scope(|scope| {
            for (place, cookie) in cookies.iter().enumerate() {
                let (playground, run) = (&playground, run.to_str().unwrap());
                if place % 2 == 0 {
                    scope.spawn(move || playground.end_lab(cookie));
                } else if place == 1 {
                    scope.spawn(move || {
                        let output = common::run_newroot(&["labs", "end", "--all", "--run", run]);
                        assert!(output.status.success(), "{}", common::text_of(&output));
                    });
                }
            }
        });
        // However a lab was ended, this answers when the server has done with it.
        cookies.iter().for_each(|cookie| playground.end_lab(cookie));
        for page in &mut pages {
            page.until_closed().await;
            assert_eq!(page.closed, Some(CLOSE_LAB_ENDED), "{}", page.reason);
        }
        drop(pages);
        let now = traces(&playground, &names);
        match &before {
            // What a server opens once for all, it has opened in the first round.
            None => before = Some(now),
            Some(before) => assert_eq!(&now, before, "round {round}"),
        }
    }
    let before = before.unwrap();
    assert_eq!((before.labs, before.processes, before.namespaces, before.cgroups, before.children), (0, 0, 0, 0, 0));
    println!("a lab with two prompts, one of twenty at once: {:?} each", starts.iter().sum::<Duration>() / 10);
    assert!(playground.stop(Signal::SIGINT).success());
    assert!(!playground.log().contains("WARN"), "{}", playground.log());
}

/// Answers of a neighbour's shell while `disturb` goes on; sorted.
async fn latencies(page: &mut Page) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in 0..30 {
        let begun = Instant::now();
        let answer = page.output_of(HOST, &format!("echo answer {number}")).await;
        assert!(answer.contains(&format!("answer {number}")));
        times.push(begun.elapsed());
    }
    times.sort();
    times
}

/// After whatever was done to a lab its learner gets a machine that works: by a reset, or by a new one if it has ended.
async fn recovers(playground: &Playground, cookie: &str, page: &mut Page, what: &str) {
    if page.closed.is_none() {
        page.tell(&ToLab::Reset).await;
        page.until_closed_or(|page| {
            page.text_since(HOST, 0).rsplit_once("was reset").is_some_and(|(_, t)| t.contains("# "))
        })
        .await;
    }
    println!(
        "{what}: {}",
        page.closed.map_or("the lab goes on after a reset".into(), |_| format!("it ended: {}", page.reason))
    );
    if page.closed.is_some() {
        *page = playground.open(cookie).await;
    }
    assert!(page.output_of(HOST, "echo well").await.contains("well"), "{what}");
}

#[tokio::test]
async fn a_fork_bomb_a_memory_hog_and_a_filler_are_felt_by_nobody_else() {
    let flags = ["--upstream", NO_UPSTREAM, "--lab-memory", "96", "--lab-pids", "100", "--lab-cpu", "50"];
    let playground = Playground::start_with(&flags);
    let cookies: Vec<String> = (0..4).map(|_| playground.new_cookie()).collect();
    let mut neighbour = playground.open(&cookies[0]).await;
    println!("a neighbour's shell in peace: {:?}", summary(&latencies(&mut neighbour).await));

    let mut bomb = playground.open(&cookies[1]).await;
    bomb.run(CONTAINER, "b() { b | b & }; b").await;
    bomb.until("the limit of processes", |page| page.text_since(CONTAINER, 0).contains("can't fork")).await;
    println!("beside a fork bomb: {:?}", summary(&latencies(&mut neighbour).await));
    recovers(&playground, &cookies[1], &mut bomb, "fork bomb").await;

    let mut hog = playground.open(&cookies[2]).await;
    hog.run(CONTAINER, "while :; do dd if=/dev/zero of=/dev/null bs=400M count=1; echo =$?=; done").await;
    hog.until("a kill", |page| page.text_since(CONTAINER, 0).contains("=137=")).await;
    println!("beside a memory hog: {:?}", summary(&latencies(&mut neighbour).await));
    assert!(hog.output_of(HOST, "echo beside").await.contains("beside"), "the hog alone is killed");
    recovers(&playground, &cookies[2], &mut hog, "memory hog").await;

    let mut filler = playground.open(&cookies[3]).await;
    filler.run(HOST, "dd if=/dev/zero of=/root/file bs=1M; echo =$?=").await;
    filler.run(CONTAINER, "mount -t tmpfs -o size=1g big /mnt; dd if=/dev/zero of=/mnt/file bs=1M").await;
    filler
        .until_closed_or(|page| !page.terminals[&CONTAINER].running || page.text_since(CONTAINER, 0).contains("Killed"))
        .await;
    println!("beside a filler: {:?}", summary(&latencies(&mut neighbour).await));
    recovers(&playground, &cookies[3], &mut filler, "tmpfs filler").await;
}

fn summary(times: &[Duration]) -> String {
    format!("{:?} median, {:?} at most", times[times.len() / 2], times[times.len() - 1])
}

#[tokio::test]
async fn a_lab_that_opens_connections_without_end_takes_few_of_the_servers_descriptors() {
    let playground = Playground::start(None);
    let mut greedy = playground.open(&playground.new_cookie()).await;
    let mut neighbour = playground.open(&playground.new_cookie()).await;
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", playground.pid())).unwrap().count();
    let before = descriptors();
    // Each asks for something, so that its connection is accepted and known, and then for nothing more.
    let greed = "for n in $(seq 100); do (printf 'GET /v2/ HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'; sleep 1000) | nc 127.0.0.1 5000 & done";
    greedy.run(CONTAINER, greed).await;
    greedy
        .until("as many answers as there are places", |page| {
            page.text_since(CONTAINER, 0).matches("200 OK").count() == 32
        })
        .await;
    assert!(neighbour.output_of(HOST, "newroot pull busybox").await.contains("Pulling done"));
    assert!(descriptors() <= before + 40, "{} descriptors, {before} before", descriptors());
    assert_eq!(greedy.text_since(CONTAINER, 0).matches("200 OK").count(), 32, "more were accepted");
}
