//! A lab from its first page to its end, and what stands between it and the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use shared::protocol::CLOSE_LAB_ENDED;

use crate::common;
use crate::common::playground::{CONTAINER, HOST, Page, Playground};
use crate::common::{Registry, busybox};

/// The processes of all labs below a run directory, found by the cgroups that carry the labs' names.
fn lab_processes(playground: &Playground) -> Vec<i32> {
    let names: Vec<_> = common::names_in(&playground.labs());
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    all.filter(|pid: &i32| {
        let cgroups = common::cgroups_of(Path::new(&format!("/proc/{pid}")));
        names.iter().any(|name| cgroups.contains(name.as_str()))
    })
    .collect()
}

fn status_field(pid: i32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in {status}")).trim().to_owned()
}

#[tokio::test]
async fn an_image_is_pulled_and_run_and_the_container_has_a_view_of_its_own() {
    let registry = Registry::start();
    registry.push("library/alpine:latest", &[busybox().file("etc/from-the-registry", "yes\n").gzip()]);
    let playground = Playground::start(Some(&registry.url()));
    let mut page = playground.open(&playground.new_cookie()).await;

    let pulled = page.output_of(HOST, "sudo ./bin/devoxx-docker pull alpine").await;
    assert!(pulled.contains("Pulling alpine") && pulled.contains("Pulling done"), "{pulled}");
    assert!(page.output_of(HOST, "ls -l /fs/alpine/rootfs").await.contains("etc"));
    let again = page.output_of(HOST, "newroot pull alpine").await;
    assert!(again.contains("Already there"), "{again}");

    page.run(CONTAINER, "sudo ./bin/devoxx-container run alpine /bin/sh").await;
    let chrooted = |page: &Page| page.views.values().find(|(view, _)| view.root == "/fs/alpine/rootfs").cloned();
    page.until("the container's view", |page| {
        chrooted(page).is_some_and(|(view, _)| view.processes[0].program == "sh")
    })
    .await;
    let (view, rows) = chrooted(&page).unwrap();
    assert_eq!(rows, [], "chroot(2) moved a directory, not a mount: no mount is reachable");
    assert!(view.ordinal > 0, "the container has the host's mount namespace");
    assert_eq!(page.output_of(CONTAINER, "cat /etc/from-the-registry").await.trim(), "yes");
    assert!(page.output_of(CONTAINER, "ps").await.lines().count() <= 1, "there is no /proc yet");
    page.run(CONTAINER, "exit").await;
    page.until("the view's end", |page| chrooted(page).is_none()).await;

    page.run(CONTAINER, "newroot run --root pivot --mount proc alpine /bin/sh").await;
    let pivoted = |page: &Page| page.views.values().any(|(view, rows)| view.root == "/" && rows.len() == 2);
    page.until("a view of / and /proc alone", pivoted).await;
    assert!(page.output_of(CONTAINER, "ps").await.contains("1 root"));
    page.run(CONTAINER, "exit 7").await;
    page.until("the view's end", |page| !pivoted(page)).await;
    assert_eq!(page.output_of(CONTAINER, "echo $?").await.trim(), "7");
}

#[tokio::test]
async fn the_embedded_image_is_there_without_any_upstream() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    let pulled = page.output_of(HOST, "newroot pull busybox").await;
    assert!(pulled.contains("Pulling done"), "{pulled}");
    assert_eq!(page.output_of(HOST, "newroot run busybox echo it runs 2>/dev/null").await.trim(), "it runs");
    // The default mounts work where nobody is root of a machine, and the terminal has a name.
    let inside =
        "ps | grep -c \"^ *1 \"; tty; df /dev | grep -o \"/dev$\"; echo lost > /dev/null; mount | grep -c \" /sys \"";
    for root in ["chroot", "pivot"] {
        let command = format!("newroot run --root {root} --mount default busybox /bin/sh -c '{inside}' 2>/tmp/said");
        let said = page.output_of(HOST, &command).await.replace('\r', "");
        let right = said.ends_with("\n1\n/dev/console\n/dev\n1\n");
        assert!(right, "{root}: {said}{}", page.output_of(HOST, "cat /tmp/said").await);
    }
}

#[tokio::test]
async fn the_lab_process_has_no_privilege_and_everything_is_in_the_learners_cgroup() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.run(HOST, "unshare --mount sh").await;
    page.until("a second view", |page| page.views.len() == 2).await;

    let processes = lab_processes(&playground);
    let named = |line: &str| -> Vec<i32> {
        let has =
            |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().replace('\0', " ").trim() == line;
        processes.iter().copied().filter(has).collect()
    };
    // The zygote is a fork of the lab process, so both are called `newroot lab`.
    let is_zygote = |pid: &i32| status_field(*pid, "Uid") == status_field(named("newroot init")[0], "Uid");
    let (zygote, lab): (Vec<i32>, Vec<i32>) = named("newroot lab").into_iter().partition(is_zygote);
    assert_eq!((zygote.len(), lab.len(), named("newroot init").len()), (1, 1, 1), "{processes:?}");
    let lab = lab[0];

    let uids: BTreeSet<u32> = status_field(lab, "Uid").split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert_eq!(uids.len(), 1, "real, effective, saved and file system uid are one");
    let lab_uid = *uids.first().unwrap();
    assert!(lab_uid >= 0x7000_0000, "{lab_uid}");
    assert_eq!(status_field(lab, "Gid").split_whitespace().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(status_field(lab, "Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_field(lab, set), "0000000000000000", "{set}");
    }
    assert_eq!(status_field(lab, "NoNewPrivs"), "1");

    // Nobody in the sandbox is the lab's user, or any user of the machine.
    let own_namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    for &pid in processes.iter().filter(|&&pid| pid != lab) {
        let uid: u32 = status_field(pid, "Uid").split_whitespace().next().unwrap().parse().unwrap();
        assert!((lab_uid - 65_536..lab_uid).contains(&uid), "process {pid} has uid {uid}");
        assert_ne!(
            own_namespace(pid as u32),
            own_namespace(std::process::id()),
            "process {pid} is in the machine's user namespace"
        );
    }
    // Its descriptors: none of the server's.
    for descriptor in fs::read_dir(format!("/proc/{}/fd", named("newroot init")[0])).unwrap() {
        let path = descriptor.unwrap().path();
        let target = fs::read_link(&path).unwrap_or_default();
        let name = target.to_string_lossy();
        assert!(
            ["/null", "socket:", "/dev/pts", "/dev/ptmx", "anon_inode"].iter().any(|known| name.starts_with(known)),
            "PID 1 of the sandbox holds {path:?} -> {name}"
        );
    }
    for controller in ["memory", "pids", "cpu"] {
        let cgroups = fs::read_to_string(format!("/proc/{lab}/cgroup")).unwrap();
        let line = cgroups.lines().find(|line| {
            let controllers = line.split(':').nth(1).unwrap();
            controllers.split(',').any(|name| name == controller)
                || (controllers.is_empty() && line.contains("newroot/"))
        });
        assert!(line.is_some_and(|line| line.contains("/newroot/")), "{controller}: {cgroups}");
    }
}

/// All that a lab could leave behind on the machine.
fn traces(playground: &Playground) -> (BTreeSet<PathBuf>, usize, String, Vec<i32>) {
    let mut cgroups = BTreeSet::new();
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // Of other tests' labs, which run at the same time, we know nothing.
                let lab = entry.file_name().to_string_lossy().len() == 32;
                if lab && playground.labs().join(entry.file_name()).exists() {
                    cgroups.insert(entry.path());
                }
                directories.push(entry.path());
            }
        }
    }
    let entries = fs::read_dir(playground.labs()).map_or(0, Iterator::count);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let directory = playground.labs().display().to_string();
    let mounts = mounts.lines().filter(|line| line.contains(&directory)).collect();
    (cgroups, entries, mounts, lab_processes(playground))
}

#[tokio::test]
async fn nothing_is_left_when_a_lab_has_ended() {
    let playground = Playground::start(None);
    fs::create_dir_all(playground.labs()).unwrap();
    let before = traces(&playground);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    page.run(CONTAINER, "unshare --mount sh").await;
    page.until("a second view", |page| page.views.len() == 2).await;
    page.run(CONTAINER, "mount -t tmpfs tmpfs /mnt; sleep 1000 & sleep 1000").await;
    page.run(HOST, "(trap '' HUP TERM; sleep 1000) & newroot pull busybox").await;
    page.until("the pull", |page| page.text_since(HOST, 0).contains("Pulling done")).await;
    let during = traces(&playground);
    let name = common::names_in(&playground.labs()).remove(0);
    let cgroups = during.0.clone();
    assert!(!cgroups.is_empty() && during.1 == 1 && during.3.len() > 5, "the test sees labs: {during:?}");

    playground.end_lab(&cookie);
    assert_eq!(traces(&playground), before);
    for cgroup in cgroups {
        assert!(!cgroup.exists(), "{cgroup:?} is left");
    }
    let processes =
        fs::read_dir("/proc").unwrap().flatten().filter(|entry| common::cgroups_of(&entry.path()).contains(&name));
    assert_eq!(processes.count(), 0, "processes are left in the lab's cgroup");
    page.until("the close", |page| page.closed.is_some()).await;
    assert_eq!(page.closed, Some(CLOSE_LAB_ENDED));

    // The next machine is a new one.
    let mut page = playground.open(&cookie).await;
    assert!(page.output_of(HOST, "ls /fs").await.trim().is_empty());
}

#[tokio::test]
async fn ctrl_c_on_the_server_ends_the_labs_too() {
    let mut playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(playground.stop(Signal::SIGINT).success());
    page.until("the close", |page| page.closed.is_some()).await;
    assert_eq!(fs::read_dir(playground.labs()).unwrap().count(), 0);
    assert_eq!(lab_processes(&playground), [0; 0]);
}

#[tokio::test]
async fn a_server_that_is_killed_or_terminated_ends_no_lab_and_the_next_one_finds_them() {
    let mut playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    let before = page.output_of(HOST, "echo $$; touch /root/mine; tty").await;
    playground.restart_after(Signal::SIGKILL);
    // The old socket is the lab's, not the server's: it goes on.
    assert_eq!(page.output_of(HOST, "echo $$; ls /root/mine >/dev/null && tty").await, before);
    // SIGTERM is how systemd restarts a server for an upgrade; it ends no lab either.
    playground.restart_after(Signal::SIGTERM);
    assert_eq!(page.output_of(HOST, "echo $$; ls /root/mine >/dev/null && tty").await, before);
    // The mirror is served by the new server; a second page meets the same shell.
    let mut second = playground.open(&cookie).await;
    assert!(second.output_of(CONTAINER, "newroot pull busybox").await.contains("Pulling done"));
    assert_eq!(second.output_of(HOST, "echo $$; ls /root/mine >/dev/null && tty").await, before);
}

#[tokio::test]
async fn only_our_own_page_gets_in() {
    let playground = Playground::start(None);
    let address = playground.address();
    let cookie = playground.new_cookie();
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let ask = |host: &str, origin: &str, cookie: &str| {
        playground.ask(&format!("GET /api/lab HTTP/1.1\r\nHost: {host}\r\n{origin}{cookie}{upgrade}"))
    };
    let (host, ours) = (address.to_string(), format!("Origin: http://{address}\r\n"));
    let cookie_line = format!("Cookie: {cookie}\r\n");
    assert!(ask(&host, "Origin: https://elsewhere.example\r\n", &cookie_line).starts_with("HTTP/1.1 403"));
    assert!(ask(&host, "", &cookie_line).starts_with("HTTP/1.1 403"), "no Origin at all");
    assert!(ask(&host, &ours, "").starts_with("HTTP/1.1 401"), "no cookie");
    assert!(ask(&host, &ours, "Cookie: newroot=guess\r\n").starts_with("HTTP/1.1 401"), "no cookie of ours");
    let rebound = ask("rebound.example", "Origin: http://rebound.example\r\n", &cookie_line);
    assert!(rebound.starts_with("HTTP/1.1 421"), "a name that is not ours: {rebound}");
    assert_eq!(fs::read_dir(playground.labs()).map_or(0, Iterator::count), 0, "no lab was started for any of them");
    let page = playground.ask(&format!("GET / HTTP/1.1\r\nHost: {host}"));
    assert!(page.contains("content-security-policy: default-src 'none'") && page.contains("HttpOnly; SameSite=Strict"));
}
