//! Attacks that take more than a lab may have. While each holds what it got, a neighbour works on; how fast is printed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shared::protocol::ToLab;
use tokio::sync::Mutex;

use crate::common::page::{CONTAINER, HOST, Page};
use crate::common::playground::Playground;
use crate::control::{self, Bait};
use crate::machine::Machine;
use crate::rows::{self, By, RESOURCES};
use crate::table::{Outcome, Table};

/// What a lab may have: less than each attack takes.
const SMALL: [&str; 6] = ["--lab-memory", "96", "--lab-pids", "100", "--lab-disk", "64"];

/// MiB that the kernel may need for itself during an attack of a lab of 96 MiB, on a machine that does other things as well.
const MOST_OF_THE_KERNEL: i64 = 96 + 256;

/// What the machine counts, it counts for whatever runs on it.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Makes an attack that keeps what it gets. The kernel may end it, its terminal, or the machine that it is in.
async fn hold(page: &mut Page, name: &str) -> Outcome {
    page.until("a prompt", |page| page.has_prompt(HOST)).await;
    let before = page.output[&HOST].len();
    page.run(HOST, &format!("/attacker hold {name}")).await;
    let said = |page: &Page| Outcome::of(name, &page.text_since(HOST, before));
    // Before the echo of the command, the prompt is the old one.
    let is_over = |page: &Page| {
        page.text_since(HOST, before).contains('\n') && page.has_prompt(HOST) || !page.terminals[&HOST].running
    };
    page.until_closed_or(|page| said(page).is_some() || is_over(page)).await;
    if name == "cgroups" && said(page).is_some_and(|outcome| outcome.has_escaped()) {
        // The lab process counts them now and then, and then the lab is over.
        page.until_closed().await;
        return Outcome::Held(page.reason.clone());
    }
    said(page).unwrap_or_else(|| Outcome::Held("the kernel has ended it".to_owned()))
}

/// Gives back what an attack has got: a new machine, or even a new lab.
async fn recover(playground: &Playground, cookie: &str, page: &mut Page, name: &str) {
    // To look at a hundred thousand mounts takes a lab process that is not optimised longer than a test waits.
    if page.closed.is_none() && name != "mounts" {
        let before = page.output[&HOST].len();
        page.tell(&ToLab::Reset).await;
        page.until_closed_or(|page| page.text_since(HOST, before).contains("was reset") && page.has_prompt(HOST)).await;
    }
    if page.closed.is_some() || name == "mounts" {
        // However it was ended, this waits until the server has done with it.
        playground.end_lab(cookie);
        *page = playground.open(cookie).await;
    }
}

/// How long a neighbour's shell takes to answer a key.
async fn echo(page: &mut Page) -> String {
    let mut times: Vec<Duration> = Vec::new();
    page.until("a prompt", |page| page.has_prompt(HOST)).await;
    for _ in 0..20 {
        let (begun, before) = (Instant::now(), page.output[&HOST].len());
        page.type_keys(HOST, b"x").await;
        page.until("the echo", |page| page.text_since(HOST, before).contains('x')).await;
        times.push(begun.elapsed());
    }
    page.type_keys(HOST, b"\x15").await;
    times.sort();
    format!("echo {:.1?} median, {:.1?} at most", times[10], times[19])
}

/// A neighbour opens a terminal, starts processes, mounts, and pulls.
async fn works(page: &mut Page) -> String {
    let terminals = page.terminals.len();
    page.tell(&ToLab::Open { name: None }).await;
    page.until("another terminal", |page| page.terminals.len() > terminals).await;
    let opened = *page.terminals.keys().next_back().unwrap();
    page.until("its prompt", |page| page.has_prompt(opened)).await;
    page.tell(&ToLab::Close { terminal: opened }).await;
    page.until("its end", |page| !page.terminals.contains_key(&opened)).await;
    let pulled = page
        .output_of(CONTAINER, "newroot pull busybox && mount -t tmpfs a /mnt && umount /mnt && echo we\"\"ll")
        .await;
    assert!(pulled.contains("well"), "{pulled}");
    echo(page).await
}

#[tokio::test]
#[ignore = "takes what the machine has, beside other tests: cargo test --test attacks -- --ignored"]
async fn no_lab_takes_more_than_its_own_and_its_neighbour_works_on() {
    let _alone = ALONE.lock().await;
    let registry = control::registry();
    let mut table = Table::default();
    let playground = control::playground(&registry, &SMALL);
    let (cookie, other) = (playground.new_cookie(), playground.new_cookie());
    let mut page = playground.open(&cookie).await;
    let mut neighbour = playground.open(&other).await;
    println!("in peace: {}", works(&mut neighbour).await);
    let mut with = BTreeMap::new();
    for row in rows::chosen(RESOURCES) {
        let before = Machine::look();
        let outcome = hold(&mut page, row.name).await;
        let now = Machine::look();
        println!("{}: {outcome}; on the machine: {}", row.name, now.more_than(&before));
        println!("    beside it: {}", works(&mut neighbour).await);
        let taken = now.kernel_mebibytes_since(&before);
        if taken > MOST_OF_THE_KERNEL && !row.is_pending {
            table.fault(format!("{}: the kernel has {taken} MiB more, for a lab of 96 MiB", row.name));
        }
        with.insert(row.name, outcome);
        let begun = Instant::now();
        recover(&playground, &cookie, &mut page, row.name).await;
        println!("    another machine after {:.1?}", begun.elapsed());
    }

    let mut without = BTreeMap::new();
    let mut defences: Vec<&str> = Vec::new();
    for row in rows::chosen(RESOURCES).filter(|row| !row.is_pending) {
        if let By::Defence(defence) = row.by
            && !defences.contains(&defence)
        {
            defences.push(defence);
        }
    }
    for defence in defences {
        let playground = control::playground(&registry, &[&SMALL[..], &["--without", defence]].concat());
        let cookie = playground.new_cookie();
        let mut page = playground.open(&cookie).await;
        for row in rows::chosen(RESOURCES).filter(|row| row.by == By::Defence(defence) && !row.is_pending) {
            without.insert(row.name, hold(&mut page, row.name).await);
            recover(&playground, &cookie, &mut page, row.name).await;
        }
    }

    let bait = Bait::new(&playground);
    for row in rows::chosen(RESOURCES) {
        // A little of each: what the kernel bounds, it bounds everywhere.
        let on_the_machine = bait.on_the_machine(&[row.name], &[("AMOUNT", "2")]).remove(row.name).unwrap();
        table.judge(row, &with[row.name], without.get(row.name), &on_the_machine);
    }
    table.finish("taking what others need");
}

/// A little of everything that the machine has only so many of, in all but one of the sixty labs that one address may have.
#[tokio::test]
#[ignore = "takes what the machine has, beside other tests: cargo test --test attacks -- --ignored"]
async fn of_sixty_labs_all_but_one_take_what_they_can_and_that_one_works() {
    let _alone = ALONE.lock().await;
    let registry = control::registry();
    let playground = control::playground(&registry, &[&SMALL[..], &["--lab-cpu", "20"]].concat());
    let mut neighbour = playground.open(&playground.new_cookie()).await;
    let before = Machine::look();
    let mut pages = Vec::new();
    for _ in 0..59 {
        pages.push(playground.open(&playground.new_cookie()).await);
    }
    const GREEDY: [&str; 6] =
        ["pseudoterminals", "event-counters", "timers", "inotify-instances", "posix-queues", "network-namespaces"];
    // Each waits for the terminal, and so keeps what it has. A shell that controls no jobs says nothing in between, which would
    // else stand in the midst of what they say.
    let greed: Vec<String> = GREEDY.iter().map(|name| format!("/attacker hold {name} </dev/tty &")).collect();
    for page in &mut pages {
        page.run(HOST, &format!("sh -c '{} wait'", greed.join(" "))).await;
    }
    for page in &mut pages {
        let all = |page: &Page| GREEDY.iter().all(|name| Outcome::of(name, &page.text_since(HOST, 0)).is_some());
        page.until("what each has got", all).await;
        for name in GREEDY {
            let outcome = Outcome::of(name, &page.text_since(HOST, 0)).unwrap();
            assert!(!outcome.has_escaped(), "{name}: {outcome}");
        }
    }
    let now = Machine::look();
    println!("sixty labs at once: on the machine: {}", now.more_than(&before));
    println!("    beside them: {}", works(&mut neighbour).await);
    let taken = now.kernel_mebibytes_since(&before);
    assert!(taken < 60 * 96, "the kernel has {taken} MiB more");
}
