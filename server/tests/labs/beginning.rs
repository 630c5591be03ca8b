//! What the processes of a lab begin with, whatever the server was started with (`lab::beginning` has the list), and what a
//! lab may have of things that the kernel counts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::common;
use crate::common::playground::{HOST, NO_UPSTREAM, Playground};
use crate::life::reset;

/// A server's start as nobody would wish it: whatever can be handed on is unusual.
const UNUSUAL: &str = "export SECRET=token; cd /root; umask 077; exec 7</etc/passwd 8<&0; trap '' INT QUIT HUP TERM; \
    ulimit -c unlimited 2>/dev/null; ulimit -e 10 2>/dev/null; ulimit -r 10 2>/dev/null; \
    echo 1000000 > /proc/$$/timerslack_ns; echo -500 2>/dev/null > /proc/$$/oom_score_adj; \
    renice -n -5 $$ > /dev/null 2>&1; ionice -c 1 -p $$ 2>/dev/null; set -- setarch -R \"$0\" \"$@\"; exec \"$@\"";

/// A process, as /proc tells.
struct Process {
    pid: i32,
    command: String,
}

impl Process {
    fn read(&self, file: &str) -> String {
        let text = fs::read(format!("/proc/{}/{file}", self.pid)).unwrap_or_else(|error| panic!("{file}: {error}"));
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    fn status(&self, name: &str) -> String {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
    }

    /// A field of proc_pid_stat(5), counted from 1; those before the third have no place here.
    fn stat(&self, field: usize) -> i64 {
        let stat = self.read("stat");
        let after = stat.rsplit_once(") ").unwrap().1;
        after.split_whitespace().nth(field - 3).unwrap().parse().unwrap()
    }

    fn limit(&self, name: &str) -> String {
        let limits = self.read("limits");
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    fn namespace(&self, kind: &str) -> u64 {
        fs::metadata(format!("/proc/{}/ns/{kind}", self.pid)).unwrap().ino()
    }

    fn descriptors(&self) -> BTreeMap<i32, String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().flatten();
        entries
            .filter_map(|entry| {
                let to = fs::read_link(entry.path()).ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, to.display().to_string()))
            })
            .collect()
    }
}

/// The processes in the cgroup of the playground's only lab: the lab process, the zygote, PID 1, the shells.
fn processes(playground: &Playground) -> Vec<Process> {
    let lab = common::names_in(&playground.labs()).remove(0);
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let of_the_lab = all.filter(|pid: &i32| common::cgroups_of(Path::new(&format!("/proc/{pid}"))).contains(&lab));
    let mut processes: Vec<Process> = of_the_lab
        .map(|pid| {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            Process { pid, command: command.replace('\0', " ").trim().to_owned() }
        })
        .collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

#[tokio::test]
async fn nothing_of_how_the_server_was_started_gets_into_a_lab() {
    let (playground, _terminal) = Playground::start_on_terminal(UNUSUAL, &["--upstream", NO_UPSTREAM]);
    let page = playground.open(&playground.new_cookie()).await;
    drop(page);
    let server = Process { pid: playground.pid().as_raw(), command: "serve".into() };
    // What makes this test one: the server does have what its labs must not have.
    assert_ne!(server.stat(7), 0, "the server has a terminal");
    assert_eq!(server.read("personality"), "00040000");
    assert!(server.read("environ").contains("SECRET"));

    let all = processes(&playground);
    let kinds: Vec<&str> = all.iter().map(|process| process.command.as_str()).collect();
    assert_eq!(kinds, ["newroot lab", "newroot lab", "newroot init", "-sh", "-sh"]);
    for process in &all {
        let name = &process.command;
        let is_shell = name == "-sh";
        assert_eq!(process.stat(6), i64::from(process.pid), "{name} leads a session");
        assert_eq!(process.stat(7) != 0, is_shell, "{name} has a terminal: {}", process.stat(7));
        assert!(!process.read("environ").contains("SECRET"), "{name}");
        assert!(is_shell || process.read("environ").is_empty(), "{name}: {}", process.read("environ"));
        assert_eq!(process.status("Umask"), "0022", "{name}");
        assert_eq!(process.read("personality"), "00000000", "{name}");
        assert_eq!(process.read("timerslack_ns"), "50000", "{name}");
        assert!(process.stat(19) >= 0, "{name} goes before others: nice {}", process.stat(19));
        assert_eq!(process.stat(41), 0, "{name}: scheduling policy");
        let oom_score: i32 = process.read("oom_score_adj").parse().unwrap();
        let expected = if is_shell {
            1000
        } else if name == "newroot init" {
            500
        } else {
            0
        };
        assert_eq!(oom_score, expected, "{name}: oom_score_adj");
        assert_eq!(process.status("Seccomp"), "2", "{name}");
        for (limit, most) in [
            ("Max core file size", "0 0"),
            ("Max open files", "1024 1024"),
            ("Max pending signals", "4096 4096"),
            ("Max msgqueue size", "819200 819200"),
            ("Max locked memory", "8388608 8388608"),
            ("Max nice priority", "0 0"),
            ("Max realtime priority", "0 0"),
        ] {
            assert_eq!(process.limit(limit), most, "{name}: {limit}");
        }
        for (number, to) in process.descriptors() {
            // The lab process has the master sides of its shells' terminals.
            let terminal = to.starts_with("/dev/tty") || to.starts_with("/dev/pts/") && to != "/dev/pts/ptmx";
            assert!(to != "/etc/passwd" && (is_shell || !terminal), "{name} has {number}: {to}");
        }
        if !is_shell {
            // Rust's own start ignores SIGPIPE; the lab's log may fill up (SIGXFSZ).
            let ignored = u64::from_str_radix(&process.status("SigIgn"), 16).unwrap() & !(1 << 12);
            let blocked = u64::from_str_radix(&process.status("SigBlk"), 16).unwrap() & !(1 << 24);
            assert_eq!((ignored, blocked), (0, 0), "{name}");
        }
    }
    let [lab, zygote, init, ..] = &all[..] else { panic!("{kinds:?}") };
    assert_eq!(init.descriptors().keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(init.descriptors().values().take(3).all(|to| to.ends_with("/null")), "{:?}", init.descriptors());
    assert!(zygote.descriptors().values().take(3).all(|to| to.ends_with("/null")), "{:?}", zygote.descriptors());
    assert_eq!(lab.status("NoNewPrivs"), "1");
    for kind in ["net", "ipc", "mnt"] {
        let [of_server, of_lab, of_init] = [&server, lab, init].map(|process| process.namespace(kind));
        assert!(of_server != of_lab && of_lab != of_init && of_server != of_init, "{kind}");
    }
    assert_eq!(lab.namespace("net"), zygote.namespace("net"));
}

#[tokio::test]
async fn a_lab_has_only_so_many_namespaces_and_a_reset_brings_them_back() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    // Their own root may set numbers within: up does not help, and down is gone with the machine.
    let take = "for f in /proc/sys/user/max_*; do echo 100000 > $f; done; mkdir /tmp/n; \
        for i in $(seq 60); do touch /tmp/n/$i; unshare --net=/tmp/n/$i true 2>/dev/null && echo got-$i; done | grep -c got";
    page.output_of(HOST, "mount -t tmpfs none /tmp").await;
    let taken = page.output_of(HOST, take).await;
    let taken: usize = taken.lines().find_map(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("{taken}"));
    assert!((30..48).contains(&taken), "{taken} network namespaces");
    page.output_of(HOST, "for f in /proc/sys/user/max_*; do echo 0 > $f; done").await;
    assert!(page.output_of(HOST, "unshare -m true; echo status=$?").await.contains("status=1"));
    reset(&mut page).await;
    // No network namespace: the kernel takes those of the former machine apart in the background, and until then they count.
    assert!(page.output_of(HOST, "unshare -mpf true; echo status=$?").await.contains("status=0"));
}
