//! The life of labs: remade, warned, ended, found again, and what their learners are told.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use shared::protocol::{CLOSE_LAB_ENDED, CLOSE_NO_LAB, CLOSE_ROOM_FULL, EndCause, ToLab};

use crate::common;
use crate::common::page::has_row;
use crate::common::playground::{CONTAINER, HOST, NO_UPSTREAM, Page, Playground};

/// Processes in the cgroup of a playground's only lab, by what /proc says.
fn processes(playground: &Playground) -> BTreeSet<i32> {
    let names = common::names_in(&playground.labs());
    assert_eq!(names.len(), 1, "{names:?}");
    processes_of(&names[0])
}

/// Processes in the cgroup of a lab.
fn processes_of(lab: &str) -> BTreeSet<i32> {
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let inside = |pid: &i32| common::cgroups_of(Path::new(&format!("/proc/{pid}"))).contains(lab);
    all.filter(inside).collect()
}

fn command_line(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ").trim().to_owned()
}

/// The process that serves a lab; the zygote is its child, and has its name too.
pub fn lab_process(lab: &str) -> i32 {
    let all: Vec<i32> = processes_of(lab).into_iter().filter(|pid| command_line(*pid) == "newroot lab").collect();
    let is_child = |pid: &&i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        all.iter().any(|parent| status.contains(&format!("PPid:\t{parent}\n")))
    };
    *all.iter().find(|pid| !is_child(pid)).expect("a lab process")
}

/// `newroot labs …`, for the labs of this playground.
fn labs(playground: &Playground, arguments: &[&str]) -> std::process::Output {
    let run = playground.run();
    common::run_newroot(&[&["labs"], arguments, &["--run", run.to_str().unwrap()]].concat())
}

fn listed(playground: &Playground) -> Vec<Value> {
    let output = labs(playground, &["list", "--json"]);
    assert!(output.status.success(), "{}", common::text_of(&output));
    serde_json::from_slice(&output.stdout).unwrap()
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
pub async fn reset(page: &mut Page) {
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

    let lab = lab_process(&common::names_in(&playground.labs())[0]);
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
            && page.text_since(HOST, 0).rsplit_once(CLEARED).is_some_and(|(_, text)| text.contains("# "))
    })
    .await;
    assert!(page.output_of(HOST, "newroot pull busybox").await.contains("Pulling done"));
}

#[tokio::test]
async fn a_lab_that_nobody_uses_warns_and_ends() {
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--idle", "4s", "--lab-memory", "100"]);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    page.until("the limits", |page| page.limits.is_some()).await;
    let (limits, _) = page.limits.clone().unwrap();
    assert_eq!((limits.memory, limits.disk, limits.processes), (100 << 20, 256 << 20, 256));
    assert_eq!((limits.idle_seconds, limits.life_seconds, limits.terminals), (4, Some(8 * 3600), 8));
    page.run(HOST, "dd if=/dev/zero of=/root/file bs=1M count=20").await;
    page.until("the use of disk and memory", |page| {
        page.limits.as_ref().is_some_and(|(_, used)| used.disk >= 20 << 20 && used.memory >= 20 << 20)
    })
    .await;
    page.until("a warning", |page| !page.warnings.is_empty()).await;
    assert_eq!(page.warnings[0].1, EndCause::Idle);
    assert!(page.warnings[0].0 <= 2, "{:?}", page.warnings);
    page.run(HOST, "").await;
    page.until("the word that it stays", |page| page.warnings.is_empty()).await;
    page.until("two warnings", |page| page.warnings.len() == 2).await;
    page.until_closed().await;
    assert_eq!((page.closed, page.reason.as_str()), (Some(CLOSE_LAB_ENDED), "nobody has used it for a while"));
    playground.end_lab(&cookie);
    assert_eq!(common::names_in(&playground.labs()), [""; 0]);
}

#[tokio::test]
async fn a_lab_ends_when_its_time_is_over_however_busy() {
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--life", "3s"]);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.run(HOST, "while :; do echo busy; sleep 0.1; done").await;
    page.until("a warning", |page| !page.warnings.is_empty()).await;
    page.run(CONTAINER, "").await;
    page.until_closed().await;
    assert_eq!((page.closed, page.reason.as_str()), (Some(CLOSE_LAB_ENDED), "its time was over"));
    assert!(page.warnings.iter().all(|(_, cause)| *cause == EndCause::Lifetime));
}

#[tokio::test]
async fn a_lab_process_that_is_killed_is_told_and_a_new_machine_is_to_be_had() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    let lab = common::names_in(&playground.labs()).remove(0);
    kill(Pid::from_raw(lab_process(&lab)), Signal::SIGKILL).unwrap();
    page.until_closed().await;
    // The page tries to come back to the machine that it had.
    let mut back = playground.dial(&cookie, "/api/lab?resume").await;
    back.until_closed().await;
    assert_eq!(back.closed, Some(CLOSE_LAB_ENDED), "{}", back.reason);
    playground.end_lab(&cookie);
    assert_eq!(processes_of(&lab), BTreeSet::new(), "the sandbox has gone with its lab");
    let mut new = playground.open(&cookie).await;
    assert!(new.output_of(HOST, "echo new").await.contains("new"));
}

#[tokio::test]
async fn a_browser_that_goes_away_while_its_lab_starts_leaves_nothing_in_the_way() {
    use std::io::Write;
    let playground = Playground::start(None);
    let address = playground.address();
    for _ in 0..10 {
        let cookie = playground.new_cookie();
        for _ in 0..3 {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let head =
                format!("GET /api/lab HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: {cookie}\r\n");
            let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
            write!(stream, "{head}Upgrade: websocket\r\nConnection: upgrade\r\n{key}\r\n\r\n").unwrap();
        }
        let mut page = playground.open(&cookie).await;
        assert!(page.output_of(HOST, "echo here").await.contains("here"));
        playground.end_lab(&cookie);
    }
    assert_eq!(common::names_in(&playground.labs()), [""; 0]);
}

#[tokio::test]
async fn a_page_that_gets_no_lab_is_told_why() {
    let mut playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--labs", "1"]);
    let (one, other) = (playground.new_cookie(), playground.new_cookie());
    drop(playground.open(&one).await);
    let mut refused = playground.dial(&other, "/api/lab").await;
    refused.until_closed().await;
    assert_eq!(refused.closed, Some(CLOSE_ROOM_FULL));
    assert!(refused.reason.contains("the room is full: 1 machines are running"), "{}", refused.reason);
    playground.end_lab(&one);
    // The disk with the lab's image is gone, say.
    fs::remove_dir_all(playground.run().with_file_name("state").join("images")).unwrap();
    let mut refused = playground.dial(&other, "/api/lab").await;
    refused.until_closed().await;
    assert_eq!(refused.closed, Some(CLOSE_NO_LAB));
    assert!(refused.reason.contains("cannot take a copy of the lab image's mount"), "{}", refused.reason);
    assert_eq!(common::names_in(&playground.labs()), [""; 0]);
    assert!(playground.stop(Signal::SIGINT).success());
}

#[tokio::test]
async fn a_lab_that_does_not_answer_holds_up_nobody_else() {
    let playground = Playground::start(None);
    let (stopped, well) = (playground.new_cookie(), playground.new_cookie());
    let page = playground.open(&stopped).await;
    let lab = common::names_in(&playground.labs()).remove(0);
    let mut neighbour = playground.open(&well).await;
    kill(Pid::from_raw(lab_process(&lab)), Signal::SIGSTOP).unwrap();

    let mut second = playground.dial(&stopped, "/api/lab").await;
    assert!(neighbour.output_of(HOST, "newroot pull busybox").await.contains("Pulling done"));
    let mut again = playground.open(&well).await;
    assert!(again.output_of(CONTAINER, "echo yes").await.contains("yes"));
    second.until_closed().await;
    assert_eq!((second.closed, second.reason.as_str()), (Some(CLOSE_NO_LAB), "it runs, but does not answer"));

    let listed = listed(&playground);
    let of = |id: &str| listed.iter().find(|listed| listed["id"] == id).unwrap();
    assert!(of(&lab)["error"].is_string(), "{listed:?}");
    let other = listed.iter().find(|listed| listed["id"] != lab.as_str()).unwrap();
    assert_eq!((&other["pages"], &other["terminals"]), (&2.into(), &2.into()));
    let output = labs(&playground, &["end", &lab[..10]]);
    assert!(output.status.success(), "{}", common::text_of(&output));
    assert_eq!(processes_of(&lab), BTreeSet::new());
    drop(page);
    assert!(again.output_of(CONTAINER, "echo still").await.contains("still"));
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_cat_loses_no_byte_and_the_next_one_has_the_lab() {
    let mut playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    page.output_of(HOST, "seq 1 1000000 > /root/numbers").await;
    let before = page.output[&HOST].len();
    page.run(HOST, "cat /root/numbers; echo =the\"\"end=").await;
    page.until("its beginning", |page| page.output[&HOST].len() > before + 500_000).await;
    playground.restart_after(Signal::SIGKILL);
    // Nothing says that the server is there: the labs answer for themselves.
    let listed = listed(&playground);
    assert_eq!((listed.len(), &listed[0]["pages"]), (1, &1.into()), "{listed:?}");
    page.until("its end", |page| page.text_since(HOST, page.output[&HOST].len() - 100).contains("=theend=")).await;
    let text = page.text_since(HOST, before);
    let numbers: Vec<&str> = text.lines().skip_while(|line| *line != "1").take(1_000_000).collect();
    assert!(numbers.iter().zip(1..).all(|(line, number)| line.parse() == Ok(number)), "a byte is lost");
    let mut second = playground.open(&cookie).await;
    assert!(second.output_of(CONTAINER, "newroot pull busybox").await.contains("Pulling done"));
    assert!(page.output_of(HOST, "ls /fs").await.contains("busybox"));
}

#[tokio::test]
async fn labs_are_listed_and_ended_without_any_server() {
    let mut playground = Playground::start(None);
    let mut pages = Vec::new();
    for _ in 0..3 {
        pages.push(playground.open(&playground.new_cookie()).await);
    }
    assert!(playground.stop(Signal::SIGTERM).success());
    let names = common::names_in(&playground.labs());
    let listed = listed(&playground);
    assert_eq!(listed.iter().map(|lab| lab["id"].as_str().unwrap()).collect::<Vec<_>>(), names);
    assert!(listed.iter().all(|lab| lab["used"]["processes"].as_u64().unwrap() >= 5), "{listed:?}");
    let text = common::text_of(&labs(&playground, &["list"]));
    assert!(names.iter().all(|name| text.contains(name)), "{text}");
    assert!(!labs(&playground, &["end", "nosuchlab"]).status.success());
    assert!(labs(&playground, &["end", &names[0]]).status.success());
    assert_eq!(common::names_in(&playground.labs()), names[1..]);
    assert!(labs(&playground, &["end", "--all"]).status.success());
    assert_eq!(common::names_in(&playground.labs()), [""; 0]);
    for page in &mut pages {
        page.until_closed().await;
        assert_eq!((page.closed, page.reason.as_str()), (Some(CLOSE_LAB_ENDED), "it was ended from the command line"));
    }
    for name in names {
        assert_eq!(processes_of(&name), BTreeSet::new());
    }
}
