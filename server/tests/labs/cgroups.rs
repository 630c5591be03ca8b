//! The cgroup that is delegated to a learner: what they can do with it, what they cannot, and what is left of it. The
//! controllers are those of the version that this machine has; what version 2 does without any is tried beside it.

use std::fs;
use std::path::{Path, PathBuf};

use newroot::lab::Handle;
use newroot::lessons::Choice;
use serde_json::{Value, json};
use shared::lesson::Block;
use shared::protocol::{CLOSE_LAB_ENDED, ToLab};

use crate::common;
use crate::common::playground::{CONTAINER, HOST, Page, Playground};

/// Where a lab has its controllers, and what the files of its limits are called: differently in the two versions.
struct Names {
    memory: &'static str,
    pids: &'static str,
    cpu: &'static str,
    memory_max: &'static str,
    memory_events: &'static str,
    cpu_max: &'static str,
}

const VERSION_1: Names = Names {
    memory: "/sys/fs/cgroup/memory",
    pids: "/sys/fs/cgroup/pids",
    cpu: "/sys/fs/cgroup/cpu",
    memory_max: "memory.limit_in_bytes",
    memory_events: "memory.oom_control",
    cpu_max: "cpu.cfs_quota_us",
};

const VERSION_2: Names = Names {
    memory: "/sys/fs/cgroup",
    pids: "/sys/fs/cgroup",
    cpu: "/sys/fs/cgroup",
    memory_max: "memory.max",
    memory_events: "memory.events",
    cpu_max: "cpu.max",
};

async fn names(page: &mut Page) -> Names {
    let is_version_2 = succeeds(page, "test -e /sys/fs/cgroup/cgroup.controllers").await;
    println!("the controllers that are tried are those of cgroups v{}", if is_version_2 { 2 } else { 1 });
    if is_version_2 { VERSION_2 } else { VERSION_1 }
}

/// Whether a command succeeds in a lab.
async fn succeeds(page: &mut Page, command: &str) -> bool {
    let said = page.output_of(HOST, &format!("( {command} ) > /tmp/said 2>&1; echo \"status\"=$?=")).await;
    said.rsplit_once("status=").unwrap_or_else(|| panic!("{said}")).1.starts_with("0=")
}

async fn must(page: &mut Page, command: &str) {
    let well = succeeds(page, command).await;
    assert!(well, "{command}: {}", page.output_of(HOST, "cat /tmp/said").await);
}

/// The cgroups of this name, by which those of labs are found on the machine, and all below them.
fn on_the_machine(lab: &str) -> Vec<PathBuf> {
    fn below(directory: &Path, inside: bool, lab: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let inside = inside || entry.file_name() == lab;
                if inside {
                    found.push(entry.path());
                }
                below(&entry.path(), inside, lab, found);
            }
        }
    }
    let mut found = Vec::new();
    below(Path::new("/sys/fs/cgroup"), false, lab, &mut found);
    found
}

/// The cgroups of a lab's learner, PID 1's among them.
fn of_the_learner(lab: &str) -> Vec<PathBuf> {
    let inside = |path: &PathBuf| path.to_string_lossy().contains("/machine/");
    on_the_machine(lab).into_iter().filter(inside).collect()
}

async fn reset(page: &mut Page) {
    let before = page.output[&HOST].len();
    page.tell(&ToLab::Reset).await;
    let is_new = |page: &Page| {
        let text = page.text_since(HOST, before);
        text.contains("was reset") && text.rsplit_once("was reset").is_some_and(|(_, text)| text.contains("# "))
    };
    page.until("a new shell", is_new).await;
}

#[tokio::test]
async fn the_limits_of_a_learners_own_cgroup_hold_for_what_is_in_it_alone() {
    let playground = Playground::start(None);
    let mut neighbour = playground.open(&playground.new_cookie()).await;
    let mut page = playground.open(&playground.new_cookie()).await;
    let Names { memory, pids, cpu, memory_max, memory_events, cpu_max } = names(&mut page).await;
    neighbour.run(CONTAINER, "sleep 1000").await;
    let before = [page.output_of(HOST, "echo $$").await, neighbour.output_of(HOST, "echo $$").await];

    // Memory: the kernel kills the one that wants too much, and counts it there.
    must(&mut page, &format!("mkdir {memory}/small && echo 16M > {memory}/small/{memory_max}")).await;
    page.run(CONTAINER, "sleep 1000").await;
    let hog = format!("sh -c 'echo $$ > {memory}/small/cgroup.procs; exec tail /dev/zero'; echo status $?");
    assert!(page.output_of(HOST, &hog).await.contains("status 137"), "it was sent SIGKILL");
    let events = page.output_of(HOST, &format!("cat {memory}/small/{memory_events}")).await;
    assert!(events.contains("oom_kill 1"), "{events}");

    // Processes: fork(2) is EAGAIN there, and nowhere else.
    must(&mut page, &format!("mkdir {pids}/few && echo 5 > {pids}/few/pids.max")).await;
    let forks = format!("sh -c 'echo $$ > {pids}/few/cgroup.procs; for i in $(seq 9); do sleep 1000 & done'");
    let said = page.output_of(HOST, &format!("{forks}; for i in $(seq 9); do sleep 0 & done; wait; echo well")).await;
    assert!(said.contains("can't fork: Resource temporarily unavailable"), "{said}");
    assert_eq!(said.matches("can't fork").count(), 1, "{said}");
    assert!(
        said.contains("well") && page.output_of(HOST, &format!("cat {pids}/few/pids.events")).await.contains("max ")
    );

    // Processor time.
    must(&mut page, &format!("mkdir {cpu}/slow && echo 10000 > {cpu}/slow/{cpu_max}")).await;
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let times = |said: String| said.lines().filter(|line| line.contains("m ")).collect::<Vec<_>>().join(", ");
    let plain = page.output_of(HOST, &format!("time sh -c '{busy}'")).await;
    let slow = page.output_of(HOST, &format!("time sh -c 'echo $$ > {cpu}/slow/cgroup.procs; {busy}'")).await;
    println!("busy: {}; with a quota of 10 %: {}", times(plain), times(slow));
    let stat = page.output_of(HOST, &format!("cat {cpu}/slow/cpu.stat")).await;
    let throttled = stat.lines().find_map(|line| line.trim().strip_prefix("nr_throttled ")).map(str::trim);
    assert!(throttled.is_some_and(|count| count != "0"), "{stat}");

    // Nobody else has noticed.
    must(&mut page, &format!("for pid in $(cat {pids}/few/cgroup.procs); do kill $pid; done")).await;
    let after = [page.output_of(HOST, "echo $$").await, neighbour.output_of(HOST, "echo $$").await];
    assert_eq!(after, before, "the same shells");
    for (who, page) in [("a shell beside it", &mut page), ("a neighbour", &mut neighbour)] {
        assert!(page.output_of(HOST, "ps").await.contains("sleep 1000"), "{who} has lost a program");
    }
}

#[tokio::test]
async fn no_learner_raises_the_limits_of_the_lab_or_leaves_them() {
    let playground = Playground::start_with(&["--upstream", common::playground::NO_UPSTREAM, "--lab-pids", "60"]);
    let mut page = playground.open(&playground.new_cookie()).await;
    let lab = common::names_in(&playground.labs()).remove(0);
    let Names { memory, pids, cpu, memory_max, cpu_max, .. } = names(&mut page).await;
    let limits = || -> Vec<String> {
        let tops = on_the_machine(&lab).into_iter().filter(|path| path.ends_with(&lab) || path.ends_with("machine"));
        let files =
            tops.flat_map(|top| ["pids.max", memory_max, cpu_max, "cgroup.max.descendants"].map(|name| top.join(name)));
        files.filter_map(|file| fs::read_to_string(file).ok()).collect()
    };
    let before = limits();
    assert!(before.contains(&"60\n".to_owned()), "{before:?}");
    must(&mut page, &format!("mkdir -p {pids}/mine {memory}/mine")).await;
    let own = format!("mount -t {} none /mnt", if pids.ends_with("pids") { "cgroup -o pids" } else { "cgroup2" });
    for command in [
        // The limits of the delegated cgroup itself, and the lab's, which nothing leads to.
        format!("echo max > {pids}/pids.max"),
        format!("echo 8G > {memory}/{memory_max}"),
        format!("echo 500000 > {cpu}/{cpu_max}"),
        format!("chown 0:0 {pids}/pids.max"),
        format!("chmod 777 {memory}/{memory_max}"),
        format!("test -e {pids}/../lab/cgroup.procs || test -e {pids}/../../cgroup.procs"),
        // Mounted anew, it begins no higher; and the root of another user namespace may not.
        format!("{own} && test -e /mnt/lab"),
        format!("{own} && echo max > /mnt/pids.max"),
        format!("unshare -Urm sh -c '{own} && test -e /mnt/cgroup.procs'"),
        // Somebody else's processes have no number here. And a cgroup with a process in it stays.
        format!("echo 99999 > {pids}/mine/cgroup.procs"),
        format!("rmdir {pids}/init"),
        format!("mv {pids}/mine {pids}/../mine"),
        format!("echo /tmp/said > {pids}/mine/release_agent"),
    ] {
        assert!(!succeeds(&mut page, &command).await, "{command}: {}", page.output_of(HOST, "cat /tmp/said").await);
        page.output_of(HOST, "umount /mnt 2>/dev/null").await;
    }
    // A limit of their own above the lab's allows no more than that.
    must(&mut page, &format!("echo 10000 > {pids}/mine/pids.max; echo $$ > {pids}/mine/cgroup.procs")).await;
    page.run(HOST, "for i in $(seq 100); do sleep 1000 & done").await;
    page.until("fork is refused", |page| page.text_since(HOST, 0).contains("can't fork")).await;
    assert_eq!(limits(), before);

    // Each process of the sandbox is in the learner's part, and those of the lab are not.
    let mut seen = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let text = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        for line in text.lines().filter(|line| line.contains(&format!("newroot/{lab}"))) {
            // `ID:CONTROLLERS:PATH`. In hierarchies that bound nothing of a lab the learner has no part.
            let controllers = line.split(':').nth(1).unwrap_or_default();
            let theirs = ["", "memory", "pids", "cpu", "cpu,cpuacct"].contains(&controllers);
            let part = if command.starts_with("newroot\0lab") || !theirs { "lab" } else { "machine/" };
            assert!(line.contains(&format!("newroot/{lab}/{part}")), "{command}: {line}");
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[tokio::test]
async fn nothing_of_a_learners_cgroups_outlives_a_reset_or_the_lab() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    let lab = common::names_in(&playground.labs()).remove(0);
    let Names { memory, pids, memory_max, .. } = names(&mut page).await;
    let fresh = of_the_learner(&lab);
    assert!(!fresh.is_empty() && fresh.iter().all(|path| path.ends_with("machine/init")), "{fresh:?}");
    for end in [false, true] {
        must(&mut page, &format!("mkdir -p {pids}/a/b/c {pids}/d && chown 1000:1000 {pids}/d; sleep 1000 & echo $! > {pids}/a/b/c/cgroup.procs")).await;
        must(&mut page, &format!("mkdir {memory}/small && echo 16M > {memory}/small/{memory_max}")).await;
        if memory != pids {
            // Version 1 lets one switch off the killing: whoever wants memory then waits for it, for ever.
            must(&mut page, &format!("echo 1 > {memory}/small/memory.oom_control")).await;
            let hog = "exec awk 'BEGIN { s = \"x\"; while (1) s = s s }' > /dev/null 2>&1";
            page.run(CONTAINER, &format!("echo $$ > {memory}/small/cgroup.procs; {hog}")).await;
            let waits = format!("until grep -q 'under_oom 1' {memory}/small/memory.oom_control; do :; done");
            must(&mut page, &waits).await;
        }
        must(&mut page, "rm -f /tmp/said; umount -l /sys/fs/cgroup").await;
        assert!(of_the_learner(&lab).len() > fresh.len());
        if end {
            playground.end_lab(&cookie);
            assert_eq!(on_the_machine(&lab), [""; 0].map(PathBuf::from));
        } else {
            reset(&mut page).await;
            assert_eq!(of_the_learner(&lab), fresh);
            must(&mut page, &format!("test -d {pids}/init && mkdir {pids}/a && rmdir {pids}/a")).await;
        }
    }
}

#[tokio::test]
async fn version_2_is_delegated_as_far_as_this_machine_has_it() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    let lab = common::names_in(&playground.labs()).remove(0);
    let fresh = of_the_learner(&lab);
    let found = page.output_of(HOST, "ls -d /sys/fs/cgroup/unified || echo /sys/fs/cgroup").await;
    let top =
        if found.contains("can't") || found.contains("No such") { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/unified" };
    let offered = page.output_of(HOST, &format!("cat {top}/cgroup.controllers")).await;
    println!(
        "cgroups v2 are tried in a lab at {top}, with the controllers {offered:?}: delegation, processes, nesting, freezing, killing, threads"
    );
    // A frozen process is killed all the same, and one whose threads may be in different cgroups.
    must(&mut page, &format!("mkdir {top}/one {top}/one/two; sleep 1000 & echo $! > {top}/one/two/cgroup.procs")).await;
    must(&mut page, &format!("test $(wc -l < {top}/one/two/cgroup.procs) = 1 && echo 1 > {top}/one/cgroup.freeze"))
        .await;
    must(
        &mut page,
        &format!("until grep -q 'frozen 1' {top}/one/cgroup.events; do :; done; echo 1 > {top}/one/cgroup.kill"),
    )
    .await;
    must(
        &mut page,
        &format!("until grep -q 'populated 0' {top}/one/cgroup.events; do :; done; rmdir {top}/one/two {top}/one"),
    )
    .await;
    // Nobody is frozen or killed from outside, and nobody gets out.
    for command in [
        format!("echo 1 > {top}/cgroup.freeze"),
        format!("echo 1 > {top}/cgroup.kill"),
        format!("echo threaded > {top}/cgroup.type"),
        format!("echo max > {top}/cgroup.max.descendants"),
    ] {
        assert!(!succeeds(&mut page, &command).await, "{command}");
    }
    // The kernel counts.
    must(&mut page, &format!("for i in $(seq 62); do mkdir {top}/$i || exit 1; done")).await;
    assert!(
        succeeds(&mut page, &format!("mkdir {top}/63")).await && !succeeds(&mut page, &format!("mkdir {top}/64")).await
    );
    must(&mut page, &format!("rmdir {top}/[1-9]*")).await;
    assert!(!succeeds(&mut page, &format!("mkdir -p {top}/1/2/3/4/5/6/7/8/9")).await, "nor any deeper");
    // A reset ends what is frozen, threaded, and PID 1 itself.
    must(
        &mut page,
        &format!("sleep 1000 & mkdir {top}/cold; echo $! > {top}/cold/cgroup.procs; echo 1 > {top}/cold/cgroup.freeze"),
    )
    .await;
    must(&mut page, &format!("mkdir -p {top}/threads/one && echo threaded > {top}/threads/one/cgroup.type")).await;
    page.run(HOST, &format!("echo 1 > {top}/init/cgroup.freeze")).await;
    let is_frozen = || {
        fresh
            .iter()
            .any(|path| fs::read_to_string(path.join("cgroup.events")).is_ok_and(|text| text.contains("frozen 1")))
    };
    page.until("PID 1 is frozen", |_| is_frozen()).await;
    reset(&mut page).await;
    assert_eq!(of_the_learner(&lab), fresh);
    page.run(HOST, &format!("echo 1 > {top}/init/cgroup.freeze")).await;
    playground.end_lab(&cookie);
    assert_eq!(on_the_machine(&lab), [""; 0].map(PathBuf::from));
}

#[tokio::test]
async fn a_lab_that_makes_cgroups_without_end_ends_and_they_are_removed() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    let gone = common::names_in(&playground.labs()).remove(0);
    let mut neighbour = playground.open(&playground.new_cookie()).await;
    let Names { pids, .. } = names(&mut page).await;
    if pids == VERSION_2.pids {
        println!("the kernel counts them here: nothing ends");
        assert!(!succeeds(&mut page, &format!("for i in $(seq 70); do mkdir {pids}/$i || exit 1; done")).await);
        return;
    }
    // Deeper than a path can be long, as fast as a lab can.
    let name = "n".repeat(200);
    page.run(HOST, &format!("cd {pids}; while :; do mkdir {name} && cd {name}; mkdir a b c d; done 2>/dev/null")).await;
    page.until_closed().await;
    assert_eq!(page.closed, Some(CLOSE_LAB_ENDED));
    assert!(page.reason.contains("more than 64 cgroups"), "{}", page.reason);
    assert!(neighbour.output_of(HOST, "echo well").await.contains("well"));
    playground.end_lab(&cookie);
    assert_eq!(on_the_machine(&gone), [""; 0].map(PathBuf::from));
}

#[tokio::test]
async fn a_learners_cgroups_are_told_to_checks_with_numbers_of_the_machine() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    let Names { memory, pids, cpu, memory_max, cpu_max, .. } = names(&mut page).await;
    must(&mut page, &format!("mkdir -p {memory}/mine {pids}/mine {cpu}/mine {pids}/mine/below")).await;
    must(
        &mut page,
        &format!(
            "echo 32M > {memory}/mine/{memory_max}; echo 20 > {pids}/mine/pids.max; echo 15000 > {cpu}/mine/{cpu_max}"
        ),
    )
    .await;
    let said = page.output_of(HOST, &format!("sleep 1000 & echo $! > {memory}/mine/cgroup.procs; echo pid=$!=")).await;
    let pid: i64 = said.rsplit("pid=").next().unwrap().split('=').next().unwrap().parse().unwrap();
    let lab = Handle::find(&playground.keeper(), Handle::ids(&playground.labs())[0]).await.unwrap();
    let facts: Value =
        serde_json::from_str(&lab.look().await.unwrap().facts.expect("little enough to look at")).unwrap();
    let limits = |path, processes: &[i64], memory, pids, cpu| json!({"path": path, "processes": processes, "memory_max": memory, "pids_max": pids, "cpu_max": cpu, "oom_kills": 0});
    assert_eq!(
        facts["cgroups"],
        json!([limits("/mine", &[pid], 32 << 20, 20, 15), limits("/mine/below", &[], 0, 0, 0)])
    );
}

#[tokio::test]
async fn the_lesson_works_as_it_is_written_and_each_task_is_done_by_its_commands_alone() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    let choice = Choice::embedded().unwrap();
    let checks: Vec<_> = choice.checks(false).into_iter().filter(|check| check.id.starts_with("05-cgroups/")).collect();
    let lab = Handle::find(&playground.keeper(), Handle::ids(&playground.labs())[0]).await.unwrap();
    lab.set_checks(&checks).await.unwrap();
    page.until("the tasks", |page| checks.iter().all(|check| page.tasks.contains_key(&check.id))).await;
    let lesson = choice.lessons(false).into_iter().find(|lesson| lesson.slug == "05-cgroups").unwrap();
    let blocks: Vec<&Block> = lesson.steps.iter().flat_map(|step| &step.blocks).collect();
    let tasks = blocks.iter().filter_map(|block| if let Block::Task { task } = block { Some(&task.id) } else { None });
    let mut tasks: Vec<&String> = tasks.collect();
    tasks.reverse();
    for block in blocks {
        match block {
            Block::Command { terminal, text } => {
                let terminal = if terminal == "host" { HOST } else { CONTAINER };
                for line in text.lines() {
                    let before = page.output[&terminal].len();
                    page.run(terminal, line).await;
                    let is_back =
                        |page: &Page| page.text_since(terminal, before).contains("# ") && page.has_prompt(terminal);
                    page.until(&format!("a prompt after {line}"), is_back).await;
                }
            }
            Block::Task { task } => {
                page.until(&format!("task {}", task.id), |page| page.tasks.get(&task.id).is_some_and(|task| task.done))
                    .await;
                tasks.pop();
            }
            _ => {}
        }
        if let (Block::Task { .. }, Some(next)) = (block, tasks.last()) {
            assert!(!page.tasks.get(*next).is_some_and(|task| task.done), "{next} is done before its commands");
        }
    }
    assert!(tasks.is_empty() && page.text_since(CONTAINER, 0).contains("Read-only file system"));
}
