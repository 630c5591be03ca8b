//! SECURITY.md against what runs, line by line: the tables of processes, of shared resources and of defences.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::ValueEnum;
use newroot::defence::Defence;

use crate::common::playground::{NO_UPSTREAM, Playground};
use crate::rows;

const DOCUMENT: &str = include_str!("../../../SECURITY.md");

/// The rows of the tables below a heading, up to the next one.
fn tables_below(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = DOCUMENT.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no {heading}"));
    let lines = rest.lines().take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with('|'));
    let rows = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    // The first says what the columns are, and the second is a line.
    rows.skip(2).collect()
}

/// A process as SECURITY.md tells of one.
type Facts = BTreeMap<&'static str, String>;

/// What is on the machine for comparison.
struct Scene {
    server_user: String,
    first_of_the_lab: String,
}

fn read(process: i32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default()
}

fn status(process: i32, name: &str) -> String {
    let status = read(process, "status");
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
}

fn namespaces(process: i32) -> Vec<&'static str> {
    let link = |of: &str, kind: &str| fs::read_link(format!("/proc/{of}/ns/{kind}")).unwrap();
    let kinds = ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time"];
    kinds.into_iter().filter(|kind| link(&process.to_string(), kind) != link("self", kind)).collect()
}

fn user(process: i32, scene: &Scene) -> String {
    let ids = status(process, "Uid");
    let users: BTreeSet<&str> = ids.split_whitespace().collect();
    assert_eq!(users.len(), 1, "real, effective, saved and file system's user are one: {ids}");
    assert_eq!(ids, status(process, "Gid"), "and so is the group");
    assert_eq!(status(process, "Groups"), if users.contains("0") { status(process, "Groups") } else { String::new() });
    let user = users.into_iter().next().unwrap();
    let lab = |first: &str| (first.parse::<u32>().unwrap() + 65_536).to_string();
    match user {
        "0" => "root".to_owned(),
        user if user == scene.server_user => "server".to_owned(),
        user if user == scene.first_of_the_lab => "learner".to_owned(),
        user if user == lab(&scene.first_of_the_lab) => "lab".to_owned(),
        other => format!("user {other}"),
    }
}

fn capabilities(process: i32, sets: &[&str], own: &[&'static str]) -> String {
    let bits =
        sets.iter().map(|set| u64::from_str_radix(&status(process, set), 16).unwrap()).fold(0, |all, set| all | set);
    match (bits, own.contains(&"user")) {
        (0, _) => "none".to_owned(),
        (_, true) => "all, in its user namespace".to_owned(),
        (bits, false) if bits == own_bounding() => "all".to_owned(),
        (bits, false) => {
            let names = NAMES.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name);
            let others = bits & !NAMES.iter().fold(0, |all, (bit, _)| all | 1 << bit);
            names.map(str::to_owned).chain((others != 0).then(|| format!("{others:#x}"))).collect::<Vec<_>>().join(" ")
        }
    }
}

/// Capabilities by their bits (linux/capability.h), as far as anybody should have them.
const NAMES: [(u64, &str); 10] = [
    (0, "CHOWN"),
    (1, "DAC_OVERRIDE"),
    (3, "FOWNER"),
    (5, "KILL"),
    (6, "SETGID"),
    (7, "SETUID"),
    (8, "SETPCAP"),
    (19, "SYS_PTRACE"),
    (21, "SYS_ADMIN"),
    (27, "MKNOD"),
];

/// What this test has, and so whatever it starts.
fn own_bounding() -> u64 {
    u64::from_str_radix(&status(std::process::id() as i32, "CapBnd"), 16).unwrap()
}

/// Which kind of thing a descriptor is.
fn kind(link: &Path, name: &str) -> &'static str {
    match name {
        "/dev/null" | "/null" => "null",
        "anon_inode:[eventpoll]" | "anon_inode:[eventfd]" => "event",
        "anon_inode:[pidfd]" => "pidfd",
        "anon_inode:seccomp notify" => "seccomp",
        _ if name.starts_with("socket:") => "socket",
        _ if name.starts_with("pipe:") => "pipe",
        _ if name.starts_with("/sys/fs/cgroup") => "cgroup",
        _ if name.starts_with("/dev/pts/") || name == "/dev/tty" => "terminal",
        // Mount tables, and what is looked at of the processes in the sandbox.
        _ if name.starts_with("/proc/") => "table",
        // The log, the lock on the range of users.
        _ if fs::metadata(link).is_ok_and(|status| status.is_file()) => "file",
        _ => "something else",
    }
}

fn root_directory(process: i32) -> &'static str {
    let identity = |path: &str| fs::metadata(path).map(|status| (status.dev(), status.ino())).unwrap();
    let root = format!("/proc/{process}/root");
    if identity(&format!("{root}/")) == identity("/") {
        return "the machine's";
    }
    match Path::new(&root).join("bin/sh").symlink_metadata().is_ok() {
        true => "the sandbox's",
        false => "a tmpfs",
    }
}

fn facts(process: i32, scene: &Scene) -> Facts {
    let own = namespaces(process);
    let list = |kinds: &[&str]| if kinds.is_empty() { "none".to_owned() } else { kinds.join(" ") };
    Facts::from([
        ("user", user(process, scene)),
        ("capabilities", capabilities(process, &["CapEff", "CapPrm", "CapInh", "CapAmb"], &own)),
        ("capabilities to be gained", capabilities(process, &["CapBnd"], &own)),
        ("no_new_privs", if status(process, "NoNewPrivs") == "1" { "yes" } else { "no" }.to_owned()),
        ("filters of system calls", status(process, "Seccomp_filters")),
        ("namespaces", list(&own)),
        ("root directory", root_directory(process).to_owned()),
    ])
}

/// The descriptors of a process whose kind is none of these.
fn descriptors_beyond(process: i32, allowed: &str) -> Vec<String> {
    let allowed: Vec<&str> = allowed.split_whitespace().collect();
    let all = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let beyond = all.filter_map(|entry| {
        // One that was closed meanwhile.
        let name = fs::read_link(entry.path()).ok()?.display().to_string();
        let kind = kind(&entry.path(), &name);
        (!allowed.contains(&kind)).then(|| format!("{kind}: {name}"))
    });
    beyond.collect()
}

/// The processes that this one has started.
pub fn children(process: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

/// The one of them with this command line.
pub fn child(process: i32, words: &str) -> i32 {
    let is_meant = |child: &i32| read(*child, "cmdline").replace('\0', " ").trim() == words;
    children(process).into_iter().find(is_meant).unwrap_or_else(|| panic!("process {process} has no child {words}"))
}

#[tokio::test]
#[ignore = "a server inherits what other tests of this program have open: cargo test --test attacks -- --ignored"]
async fn each_process_is_as_security_md_says() {
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM]);
    let _page = playground.open(&playground.new_cookie()).await;
    let server = playground.pid().as_raw();
    let helper = child(server, "newroot keeper");
    let lab = child(helper, "newroot lab");
    let zygote = child(lab, "newroot lab");
    let init = child(zygote, "newroot init");
    let shell = *children(init).first().expect("a shell");
    let first = |process, name: &str| status(process, name).split_whitespace().next().unwrap().to_owned();
    let scene = Scene { server_user: first(server, "Uid"), first_of_the_lab: first(init, "Uid") };
    assert!(scene.first_of_the_lab.parse::<u32>().unwrap() >= 0x7000_0000, "{}", scene.first_of_the_lab);

    let mut faults = Vec::new();
    for (heading, process) in [
        ("server", server),
        ("helper", helper),
        ("lab process", lab),
        ("zygote", zygote),
        ("PID 1", init),
        ("shell", shell),
    ] {
        let mut facts = facts(process, &scene);
        for row in tables_below(&format!("### {heading}")) {
            let [what, written] = row[..] else { panic!("{heading}: {row:?}") };
            if what == "descriptors" {
                let beyond = descriptors_beyond(process, written);
                if !beyond.is_empty() {
                    faults.push(format!("{heading}: descriptors {beyond:?}, and SECURITY.md says {written}"));
                }
                continue;
            }
            let found = facts.remove(what).unwrap_or_else(|| panic!("{heading}: nobody can look at its {what}"));
            // `a b (c at times)`
            let (always, at_times) = written.split_once(" (").unwrap_or((written, ""));
            let at_times = at_times.trim_end_matches(" at times)");
            let is_then = !at_times.is_empty() && found.replace(&format!(" {at_times}"), "") == always;
            if found != always && !is_then {
                faults.push(format!("{heading}: {what} is {found}, and SECURITY.md says {written}"));
            }
        }
        assert!(facts.is_empty(), "SECURITY.md says nothing of {heading}: {:?}", facts.keys());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_resource_names_attacks_that_are_made() {
    let attacks: BTreeSet<&str> = rows::all().map(|row| row.name).collect();
    let mut named = BTreeSet::new();
    for row in tables_below("## Resources that the whole machine shares") {
        assert!(row.len() == 4 && !row[1].is_empty(), "{row:?}");
        let names: Vec<&str> = row[3].split(", ").filter(|name| !name.is_empty()).collect();
        assert!(names.iter().all(|name| attacks.contains(name)), "{row:?}");
        named.extend(names);
    }
    for row in rows::RESOURCES {
        assert!(named.contains(row.name), "SECURITY.md says nothing of what {} takes", row.name);
    }
}

#[test]
fn each_defence_is_named() {
    let rows = tables_below("## Defences");
    let written: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let variants = Defence::value_variants().iter().map(|defence| defence.to_possible_value().unwrap());
    let known: Vec<String> = variants.map(|value| value.get_name().to_owned()).collect();
    assert_eq!(written, known);
}
