//! Live mount tables, without a browser; and the kernel's word on what its tables mean.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shared::mount::{Mount, MountId, parse_table};
use shared::protocol::{TerminalId, View, ViewId};
use shared::reach::{Hidden, hidden};

use crate::common::page::has_row;
use crate::common::playground::{CONTAINER, HOST, Page, Playground};

/// The views of a mount namespace by its place in the order of appearance, with this root.
fn view<'a>(page: &'a Page, ordinal: u32, root: &str) -> Option<&'a (View, Vec<Mount>)> {
    page.views.values().find(|(view, _)| view.ordinal == ordinal && view.root == root)
}

fn row<'a>(rows: &'a [Mount], mount_point: &str) -> Option<&'a Mount> {
    rows.iter().rev().find(|row| row.mount_point == mount_point)
}

/// A page on a new lab, with the host's view there.
async fn open(playground: &Playground) -> Page {
    let mut page = playground.open(&playground.new_cookie()).await;
    page.until("the host's view", |page| view(page, 0, "/").is_some()).await;
    page
}

/// Waits until the page's rows of the shell in a terminal are what the shell reads itself.
async fn until_rows_are_true(page: &mut Page, terminal: TerminalId) -> (View, Vec<Mount>) {
    let mut said = page.output_of(terminal, "cat /proc/self/mountinfo").await;
    said.retain(|c| c != '\r');
    let table = parse_table(said.as_bytes());
    let sorted =
        |rows: &[Mount]| -> BTreeMap<MountId, Mount> { rows.iter().map(|row| (row.id, row.clone())).collect() };
    let is_it = |page: &Page| page.views.values().find(|(_, rows)| sorted(rows) == sorted(&table)).cloned();
    page.until("the table that the shell reads", |page| is_it(page).is_some()).await;
    is_it(page).unwrap()
}

#[tokio::test]
async fn a_mount_in_a_new_namespace_appears_in_its_view_and_in_no_other() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.until("the host's view", |page| page.views.len() == 1).await;
    let (host, rows) = page.views.values().next().unwrap().clone();
    assert_eq!((host.ordinal, host.root.as_str()), (0, "/"));
    assert!(has_row(&rows, "/", "overlay") && has_row(&rows, "/proc", "proc") && has_row(&rows, "/dev/pts", "devpts"));

    page.run(CONTAINER, "unshare --mount sh").await;
    page.until("a second view", |page| page.views.len() == 2).await;
    page.run(CONTAINER, "mount -t tmpfs tmpfs /mnt").await;
    let other = |page: &Page| page.views.values().find(|(view, _)| view.ordinal == 1).cloned();
    page.until("the new row", |page| other(page).is_some_and(|(_, rows)| has_row(&rows, "/mnt", "tmpfs"))).await;
    let (view, _) = other(&page).unwrap();
    assert_ne!(view.mount_namespace, host.mount_namespace);
    assert!(!has_row(&page.views[&host.id].1, "/mnt", "tmpfs"), "the mount leaked into the host's view");

    // The two `mount` commands of the chapter say the same as the tables.
    assert!(page.output_of(CONTAINER, "mount").await.contains("tmpfs on /mnt type tmpfs"));
    assert!(!page.output_of(HOST, "mount").await.contains("/mnt"));

    // A mount made outside after the unshare is not seen inside: unshare(1) made the copy private.
    page.run(HOST, "mount -t tmpfs outside /opt || mkdir /opt && mount -t tmpfs outside /opt").await;
    page.until("the host's row", |page| has_row(&page.views[&host.id].1, "/opt", "tmpfs")).await;
    assert!(!page.output_of(CONTAINER, "mount").await.contains("outside"));

    page.run(CONTAINER, "umount /mnt").await;
    page.until("the row's end", |page| other(page).is_some_and(|(_, rows)| !has_row(&rows, "/mnt", "tmpfs"))).await;
    page.run(CONTAINER, "exit").await;
    page.until("the view's end", |page| page.views.len() == 1).await;
}

#[tokio::test]
async fn every_field_of_mountinfo_is_told_and_a_new_propagation_type_at_once() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    page.run(HOST, "unshare --mount sh").await;
    page.until("its view", |page| view(page, 1, "/").is_some()).await;
    let said = page
        .output_of(HOST, "mkdir -p '/srv/a b' /srv/c && mount -t tmpfs -o ro,size=64k 'odd\\ source' '/srv/a b'")
        .await;
    let (_, rows) = until_rows_are_true(&mut page, HOST).await;
    let odd = row(&rows, "/srv/a b").unwrap_or_else(|| panic!("{said}"));
    assert_eq!((odd.source.as_str(), odd.root.as_str(), odd.fs_type.as_str()), ("odd\\ source", "/", "tmpfs"));
    assert!(odd.options.starts_with("ro,") && odd.super_options.contains("size=64k"), "{odd:?}");

    // The kernel wakes nobody for these: poll(2) on mountinfo stays quiet.
    let propagation = |page: &Page, path: &str| row(&view(page, 1, "/")?.1, path).map(|row| row.propagation);
    page.output_of(HOST, "mount --make-shared '/srv/a b'").await;
    page.until("a peer group", |page| propagation(page, "/srv/a b").is_some_and(|p| p.shared.is_some())).await;
    let group = propagation(&page, "/srv/a b").unwrap().shared;
    page.output_of(HOST, "mount --bind '/srv/a b' /srv/c").await;
    page.until("a peer", |page| propagation(page, "/srv/c").is_some_and(|p| p.shared == group)).await;
    page.output_of(HOST, "mount --make-slave /srv/c").await;
    page.until("a slave", |page| propagation(page, "/srv/c").is_some_and(|p| p.master == group && p.shared.is_none()))
        .await;
    page.output_of(HOST, "mount --make-unbindable '/srv/a b'").await;
    page.until("one that nobody binds", |page| propagation(page, "/srv/a b").is_some_and(|p| p.unbindable)).await;
    // With the last mount of its peer group, the slave's master went; nothing tells of that either.
    page.until("no master", |page| propagation(page, "/srv/c").is_some_and(|p| p.master.is_none())).await;
    until_rows_are_true(&mut page, HOST).await;
}

/// The ids of the mounts in which opening each mount point of a table ends, by the kernel's word.
async fn reached(page: &mut Page, terminal: TerminalId) -> Vec<MountId> {
    // printf undoes the kernel's escapes.
    let script = r#"while read i p d r at o; do grep mnt_id /proc/self/fdinfo/9 9<"$(printf "$at")"; done </proc/self/mountinfo"#;
    let said = page.output_of(terminal, script).await;
    said.lines().filter_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok()).map(MountId).collect()
}

#[tokio::test]
async fn what_is_told_as_hidden_is_what_no_path_reaches() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    page.run(HOST, "unshare --mount sh").await;
    page.until("its view", |page| view(page, 1, "/").is_some()).await;
    let steps = [
        // A stack, with a mount in its lower and in its upper one; then a mount on a directory above.
        "mkdir -p /srv/x/y; mount -t tmpfs a /srv/x/y; mkdir /srv/x/y/in; mount -t tmpfs b /srv/x/y/in",
        "mount -t tmpfs c /srv/x/y; mkdir /srv/x/y/in; mount -t tmpfs d /srv/x/y/in",
        "mount -t tmpfs e /srv/x",
        // On the root directory itself: whoever is in already never meets it.
        "mount -t tmpfs over /",
        // The old root stays where it was after pivot_root(".", "."): on top of the new one.
        "umount -l /..; mkdir /new; mount -t tmpfs new /new; mkdir /new/bin /new/proc; cp /bin/busybox /new/bin; \
         for a in sh cat grep; do ln -s busybox /new/bin/$a; done; mount --rbind /proc /new/proc; cd /new; pivot_root . .",
    ];
    let mut ever = Vec::new();
    for step in steps {
        page.output_of(HOST, step).await;
        let (view, rows) = until_rows_are_true(&mut page, HOST).await;
        let hidden = hidden(&rows, view.root_mount);
        let reached = reached(&mut page, HOST).await;
        for mount in &rows {
            let is_reached = reached.contains(&mount.id);
            assert_eq!(!is_reached, hidden.contains_key(&mount.id), "after {step}: {mount:?} of {rows:#?}");
        }
        ever.extend(hidden.into_values());
    }
    assert!(ever.contains(&Hidden::OverRoot) && ever.iter().any(|why| matches!(why, Hidden::Under(_))), "{ever:?}");
}

#[tokio::test]
async fn a_process_that_enters_or_leaves_a_namespace_is_found_at_once() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    let host = view(&page, 0, "/").unwrap().0.id;
    // In a user and a PID namespace of its own; its number is the one that the sandbox's ps shows.
    page.run(CONTAINER, "unshare --user --map-root-user --mount --pid --fork sh").await;
    page.until("its view", |page| view(page, 1, "/").is_some_and(|(view, _)| view.processes.len() == 2)).await;
    let (inner, _) = view(&page, 1, "/").unwrap().clone();
    // unshare(1), and the shell that it waits for.
    let pid = inner.processes[1].pid;
    let name = page.output_of(HOST, &format!("cat /proc/{pid}/comm; grep NSpid /proc/{pid}/status")).await;
    assert!(name.starts_with("sh") && name.trim().ends_with("\t1"), "{name} {inner:?}");

    // setns(2), there and back.
    page.run(HOST, &format!("nsenter -t {pid} -U -m sh")).await;
    page.until("a third process", |page| page.views[&inner.id].0.processes.len() == 3).await;
    page.until("the terminal's view", |page| page.terminals[&HOST].view == Some(inner.id)).await;
    page.run(HOST, "exit").await;
    page.until("its end", |page| page.views[&inner.id].0.processes.len() == 2).await;
    page.until("the terminal's view", |page| page.terminals[&HOST].view == Some(host)).await;

    // The one whose table is held open goes, another stays, and the table lives on.
    page.run(HOST, "unshare --mount sh -c 'sleep 1002 & exec true'").await;
    // At first the shell is alone there.
    let is_sleep = |view: &View| view.processes.len() == 1 && view.processes[0].program == "sleep";
    page.until("one that stays", |page| view(page, 2, "/").is_some_and(|(view, _)| is_sleep(view))).await;
    let (stays, _) = view(&page, 2, "/").unwrap().clone();
    page.output_of(
        HOST,
        &format!("mkdir -p /srv/late; nsenter -t {} -m mount -t tmpfs late /srv/late", stays.processes[0].pid),
    )
    .await;
    page.until("its row", |page| has_row(&page.views[&stays.id].1, "/srv/late", "tmpfs")).await;
}

#[tokio::test]
async fn pivot_root_moves_the_others_of_its_namespace_too() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    page.run(CONTAINER, "unshare --mount sh").await;
    page.until("its view", |page| view(page, 1, "/").is_some()).await;
    let before = view(&page, 1, "/").unwrap().0.clone();
    page.run(CONTAINER, "sleep 1000 &").await;
    page.output_of(CONTAINER, "mkdir /new; mount --rbind / /new; mkdir -p /new/old; cd /new; pivot_root . old").await;
    let moved = |page: &Page| {
        let (after, rows) = view(page, 1, "/")?;
        let programs: Vec<&str> = after.processes.iter().map(|process| process.program.as_str()).collect();
        (after.root_mount != before.root_mount && programs.contains(&"sleep") && programs.contains(&"sh"))
            .then(|| row(rows, "/old").is_some())
    };
    page.until("both below the new root", |page| moved(page) == Some(true)).await;
    assert!(!page.views.contains_key(&before.id), "nobody has the old root any more");
    until_rows_are_true(&mut page, CONTAINER).await;
}

#[tokio::test]
async fn a_namespace_without_a_process_is_no_view_and_comes_back_with_one() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    // Linux 6.18 refuses now and then: namespaces' ids there come from each processor's own supply, and the kernel takes one
    // with a smaller id for an older one, which cannot be kept (mnt_ns_loop). So another one is made.
    let kept = loop {
        page.run(CONTAINER, "unshare --mount sh").await;
        page.until("its view", |page| page.views.len() == 2).await;
        let kept = page.views.values().map(|(view, _)| view).find(|view| view.ordinal > 0).unwrap().clone();
        let pid = kept.processes[0].pid;
        let keep =
            format!("touch /srv/ns; exec 9</proc/{pid}/ns/mnt; mount --bind /proc/{pid}/ns/mnt /srv/ns && echo ke''pt");
        if page.output_of(HOST, &keep).await.contains("kept") {
            break kept;
        }
        page.run(CONTAINER, "exit").await;
        page.until("its end", |page| page.views.len() == 1).await;
    };
    page.run(CONTAINER, "exit").await;
    let kept_row = |page: &Page| row(&view(page, 0, "/")?.1, "/srv/ns").cloned();
    page.until("its end", |page| page.views.len() == 1 && kept_row(page).is_some()).await;
    let row = kept_row(&page).unwrap();
    assert_eq!((row.fs_type.as_str(), row.root.as_str()), ("nsfs", &*format!("mnt:[{}]", kept.mount_namespace)));
    page.run(HOST, "nsenter --mount=/srv/ns sh").await;
    page.until("it again", |page| page.views.len() == 2).await;
    let again = &view(&page, kept.ordinal, "/").unwrap().0;
    assert_eq!(again.mount_namespace, kept.mount_namespace);
    assert_ne!(again.id, kept.id, "the number of a view is never used again");
}

#[tokio::test]
async fn a_zombie_keeps_no_view() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    // The parent never waits: what it has started stays in the process table.
    page.run(CONTAINER, "unshare --mount sh -c 'read line' <>/dev/tty & exec sleep 1000").await;
    page.until("the view", |page| view(page, 1, "/").is_some()).await;
    let pid = view(&page, 1, "/").unwrap().0.processes[0].pid;
    page.run(HOST, &format!("kill -9 {pid}")).await;
    page.until("its end", |page| page.views.len() == 1).await;
    let state = page.output_of(HOST, &format!("grep State /proc/{pid}/status")).await;
    assert!(state.contains("Z (zombie)"), "{state}");
    assert!(view(&page, 0, "/").unwrap().0.processes.iter().all(|process| process.pid != pid));
}

#[tokio::test]
async fn odd_names_and_paths_are_told_as_they_are() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    // A name that is no UTF-8 and would move the cursor; in a namespace of its own, so that a view depends on it.
    page.output_of(HOST, r#"f=/srv/$(printf 'a\377\033\nb'); printf '#!/bin/sh\nread line\n' > "$f"; chmod +x "$f""#)
        .await;
    page.run(CONTAINER, r"unshare --mount /srv/a*").await;
    let named = |(view, _): &(View, Vec<Mount>)| view.processes[0].program == "a\u{fffd}\u{fffd}\u{fffd}b";
    page.until("its view", |page| view(page, 1, "/").is_some_and(named)).await;

    page.output_of(HOST, r#"d="/srv/$(printf 'x\ny \\ (deleted)')"; mkdir -p "$d"; cp /bin/busybox "$d/sh""#).await;
    page.run(HOST, r#"chroot "$d" /sh"#).await;
    page.until("the view of a root", |page| view(page, 0, "/srv/x\ny \\ (deleted)").is_some()).await;
    let (rooted, rows) = view(&page, 0, "/srv/x\ny \\ (deleted)").unwrap().clone();
    assert!(!rooted.root_deleted && rows.is_empty());
    // Read on in the other terminal: whoever deletes the root directory of a process.
    page.type_keys(CONTAINER, b"\n").await;
    page.output_of(CONTAINER, "rm -r /srv/x*").await;
    page.until("the word that it is deleted", |page| page.views[&rooted.id].0.root_deleted).await;
    assert_eq!(page.views[&rooted.id].0.root, rooted.root);
}

#[tokio::test]
async fn one_directory_mounted_twice_is_two_roots() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    let prepare =
        "mkdir -p /srv/a/in /srv/b; cp /bin/busybox /srv/a/sh; mount --bind /srv/a /srv/b; mount -t tmpfs t /srv/b/in";
    page.output_of(HOST, prepare).await;
    page.run(HOST, "chroot /srv/a /sh").await;
    page.run(CONTAINER, "chroot /srv/b /sh").await;
    page.until("two roots", |page| view(page, 0, "/srv/a").is_some() && view(page, 0, "/srv/b").is_some()).await;
    assert_eq!(view(&page, 0, "/srv/a").unwrap().1, []);
    let (below, rows) = view(&page, 0, "/srv/b").unwrap();
    assert_eq!(rows.iter().map(|row| row.mount_point.as_str()).collect::<Vec<_>>(), ["/", "/in"]);
    assert_eq!(rows[0].id, below.root_mount);
}

#[tokio::test]
async fn watching_a_root_keeps_nobody_from_unmounting_it() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    let round =
        "mount -t tmpfs t /srv; cp /bin/busybox /srv/sh; chroot /srv /sh -c :; umount /srv || echo \"in\"\" use\"";
    let said = page.output_of(HOST, &format!("for i in $(seq 40); do {round}; done")).await;
    assert!(!said.contains("in use"), "{said}");
}

#[tokio::test]
async fn too_many_views_and_processes_are_cut_with_a_word() {
    let playground = Playground::start(None);
    let mut page = open(&playground).await;
    page.run(HOST, "for i in $(seq 70); do unshare --mount sleep 1000 & done 2>/dev/null").await;
    page.until("the word", |page| page.views.len() == 64 && page.not_shown == (7, false)).await;
    page.run(HOST, "for i in $(seq 30); do sleep 1001 & done 2>/dev/null").await;
    let host = view(&page, 0, "/").unwrap().0.id;
    page.until("those not named", |page| {
        let view = &page.views[&host].0;
        view.processes.len() == 16 && view.more_processes > 16
    })
    .await;
    // A view is told as soon as it is made, and by then its process is not yet what it will be.
    page.run(HOST, "while [ $(pidof sleep | wc -w) -lt 100 ]; do true; done; killall sleep").await;
    page.until("their end", |page| page.views.len() == 1 && page.not_shown == (0, false)).await;
    page.until("all named", |page| page.views[&host].0.more_processes == 0).await;
}

/// The time from a key to its echo in a terminal, many times over: median and longest.
async fn echo_times(page: &mut Page, terminal: TerminalId) -> (Duration, Duration) {
    let mut times = Vec::new();
    for round in 0..60u8 {
        let key = [b'a' + round % 26];
        let before = page.output.get(&terminal).map_or(0, Vec::len);
        let began = Instant::now();
        page.type_keys(terminal, &key).await;
        page.until("the echo", |page| page.output.get(&terminal).map_or(0, Vec::len) > before).await;
        times.push(began.elapsed());
    }
    page.type_keys(terminal, b"\x03").await;
    page.until("a prompt", |page| page.has_prompt(terminal)).await;
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

/// Mounts and unmounts until it is told to stop. Not by Ctrl-C: one that comes between the end of a child and the moment
/// when the shell takes the terminal back is meant for nobody.
const STORM: &str = "while [ ! -e /tmp/stop ]; do mount -t tmpfs storm /mnt; umount /mnt; done";

#[tokio::test]
async fn a_single_mount_among_ten_thousand_costs_one_row_and_a_storm_leaves_the_terminals_usable() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    println!(
        "echo in a quiet lab: {:?} median, {:?} at most",
        echo_times(&mut page, HOST).await.0,
        echo_times(&mut page, HOST).await.1
    );
    // Each step doubles the mounts below /srv.
    page.output_of(
        HOST,
        "mount -t tmpfs t /srv; for i in $(seq 14); do mkdir /srv/$i; mount --rbind /srv /srv/$i; done",
    )
    .await;
    let host = |page: &Page| view(page, 0, "/").map(|(view, rows)| (view.id, rows.len()));
    page.until("all rows", |page| host(page).is_some_and(|(_, rows)| rows > 16_384)).await;
    let (id, all): (ViewId, usize) = host(&page).unwrap();

    let before = page.rows_told;
    let began = Instant::now();
    page.run(HOST, "mount -t tmpfs one /opt 2>/dev/null || { mkdir /opt; mount -t tmpfs one /opt; }").await;
    page.until("one more", |page| page.views[&id].1.len() == all + 1).await;
    println!("one mount among {all}: on the wire after {:?}", began.elapsed());
    assert_eq!(page.rows_told - before, 1, "one row was told");

    let began = Instant::now();
    let mut second = playground.open(&cookie).await;
    second.until("the whole table", |page| host(page) == Some((id, all + 1))).await;
    println!("a page that opens has all {} rows after {:?}, in {} rows", all + 1, began.elapsed(), second.rows_told);
    drop(second);

    println!("echo with {all} mounts: {:?}", echo_times(&mut page, HOST).await);
    page.run(CONTAINER, STORM).await;
    page.until("the storm", |page| page.terminals[&CONTAINER].program.ends_with("mount")).await;
    println!("echo beside a mount storm among {all}: {:?}", echo_times(&mut page, HOST).await);
    page.output_of(HOST, "touch /tmp/stop").await;
    page.until("its end", |page| page.has_prompt(CONTAINER)).await;
    // Not by the storm itself: it could come after the next word to stop.
    page.output_of(CONTAINER, "umount -l /srv; umount -l /mnt; umount /opt; rm /tmp/stop").await;
    page.until("no rows", |page| host(page).is_some_and(|(_, rows)| rows < 100)).await;
    page.run(CONTAINER, STORM).await;
    page.until("the storm", |page| page.terminals[&CONTAINER].program.ends_with("mount")).await;
    println!("echo beside a mount storm: {:?}", echo_times(&mut page, HOST).await);
    page.output_of(HOST, "touch /tmp/stop").await;
    page.until("its end", |page| page.has_prompt(CONTAINER)).await;
    page.run(CONTAINER, "while :; do (:) & done 2>/dev/null").await;
    println!("echo beside a fork storm: {:?}", echo_times(&mut page, HOST).await);
    page.type_keys(CONTAINER, b"\x03").await;
    page.run(HOST, "unshare --mount sh").await;
    page.until("a view after the storms", |page| view(page, 1, "/").is_some()).await;
}
