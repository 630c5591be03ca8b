//! cgroups of both versions, on whichever this machine has.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;
use crate::checks::facts::Cgroup as Facts;

fn limits() -> Limits {
    Limits { memory: 64 << 20, pids: 50, cpu_percent: 150, cpu_weight: 200 }
}

fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")).trim().to_owned()
}

/// Processes in a cgroup and in one below it are killed, and both cgroups removed.
fn is_killed_and_removed(directory: PathBuf) {
    let below = directory.join("below");
    make(&below).expect("a cgroup below");
    let mut children: Vec<_> =
        (0..2).map(|_| Command::new("sleep").arg("1000").spawn().expect("sleep starts")).collect();
    write(&directory.join("cgroup.procs"), children[0].id()).expect("a process enters");
    write(&below.join("cgroup.procs"), children[1].id()).expect("another enters below");
    let cgroup = Cgroup { directories: vec![directory.clone()], others: Vec::new() };
    assert!(cgroup.remove().is_err(), "it is busy");
    cgroup.kill();
    for child in &mut children {
        assert_eq!(child.wait().expect("it ends").signal(), Some(Signal::SIGKILL as i32));
    }
    cgroup.remove().expect("nobody is in it");
    assert!(!directory.exists());
    cgroup.remove().expect("removing it again is fine");
}

#[test]
fn the_limits_are_set_in_whichever_hierarchy_there_is() {
    let name = format!("test-limits-{}", std::process::id());
    let cgroup = Cgroup::create(&name, &limits()).expect("root, and cgroups with controllers");
    let find = |file: &str| {
        let directory = cgroup.directories.iter().find(|directory| directory.join(file).exists());
        read(directory.unwrap_or_else(|| panic!("no {file} in {cgroup:?}")), file)
    };
    let v2 = Hierarchies::read().v2.is_some_and(|root| has_controllers(&root));
    println!("cgroup limits are tried on {}: {:?}", if v2 { "v2" } else { "v1" }, cgroup.directories);
    match v2 {
        true => {
            assert_eq!((find("memory.max"), find("pids.max")), ((64 << 20).to_string(), "50".into()));
            assert_eq!((find("cpu.max"), find("cpu.weight")), ("150000 100000".into(), "200".into()));
        }
        false => {
            assert_eq!((find("memory.limit_in_bytes"), find("pids.max")), ((64 << 20).to_string(), "50".into()));
            assert_eq!((find("cpu.cfs_quota_us"), find("cpu.shares")), ("150000".into(), "2048".into()));
        }
    }
    let meter = cgroup.meter().expect("its use can be read");
    // The cgroups below it are paid from it.
    assert!(meter.memory() < 1 << 20 && meter.processes() == 0, "{} bytes", meter.memory());
    let all: BTreeSet<_> = cgroup.directories.iter().chain(&cgroup.others).cloned().collect();
    let found: BTreeSet<_> = Cgroup::find(&name).directories.into_iter().collect();
    assert_eq!(found, all, "a restarted server finds it");
    for directory in &cgroup.directories {
        is_killed_and_removed(directory.join(MACHINE));
    }
    cgroup.remove().expect("nobody is in it");
    remove_parent();
}

#[test]
fn a_cgroup_of_version_2_is_killed_and_removed_even_where_it_has_no_controllers() {
    let root = Hierarchies::read().v2.expect("a v2 hierarchy is mounted, if only an empty one");
    println!("cgroup v2 is tried at {}; it offers {:?}", root.display(), read(&root, "cgroup.controllers"));
    is_killed_and_removed(root.join(format!("newroot-test-{}", std::process::id())));
}

#[test]
fn version_2_gets_each_limit_in_its_own_words() {
    // A directory stands for the hierarchy: what is written where is ours, what it does is the kernel's.
    let root = tempfile::tempdir().expect("a directory");
    let directory = create_v2(root.path(), "lab", &limits()).expect("written");
    assert_eq!(directory, root.path().join("newroot/lab"));
    for parent in [root.path(), &root.path().join("newroot"), &directory] {
        assert_eq!(read(parent, "cgroup.subtree_control"), "+memory +pids +cpu");
    }
    let written = ["memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpu.weight"];
    assert_eq!(written.map(|name| read(&directory, name)), ["67108864", "0", "50", "150000 100000", "200"]);
}

#[test]
fn a_server_in_its_leaf_makes_cgroups_beside_it() {
    // As it goes where the server is not alone at its root: a container, or a systemd unit.
    let unit = PathBuf::from("/sys/fs/cgroup/system.slice/newroot.service");
    assert_eq!(above_leaf(unit.clone()), unit);
    assert_eq!(above_leaf(unit.join(LEAF)), unit);
}

#[test]
fn a_cgroup_is_found_again_from_another_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let cgroup = Cgroup { directories: vec!["/sys/fs/cgroup/pids/somewhere/newroot/lab".into()], others: Vec::new() };
    cgroup.record(&directory.path().join("cgroup")).expect("written");
    let found = Cgroup::recorded(&directory.path().join("cgroup")).expect("read");
    assert_eq!(found.directories, cgroup.directories);
    assert!(Cgroup::recorded(&directory.path().join("none")).is_err());
}

#[test]
fn a_learners_cgroups_are_told_in_one_form_and_emptied() {
    let name = format!("test-groups-{}", std::process::id());
    let cgroup = Cgroup::create(&name, &limits()).expect("root, and cgroups with controllers");
    let delegated = cgroup.delegate(70_000).expect("root may give it away");
    let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep starts");
    let pid = child.id() as i32;
    for machine in cgroup.directories.iter().map(|directory| directory.join(MACHINE)) {
        // As PID 1 does with version 2.
        let _without_controllers = enable_controllers(&machine);
        let mine = machine.join("mine");
        make(&mine.join("below")).expect("a cgroup of the learner's");
        make(&machine.join(delegated::LEAF)).expect("that of PID 1");
        for (file, limit) in [
            ("memory.max", "16777216"),
            ("memory.limit_in_bytes", "16777216"),
            ("pids.max", "20"),
            ("cpu.max", "15000"),
            ("cpu.cfs_quota_us", "15000"),
        ] {
            if mine.join(file).exists() {
                write(&mine.join(file), limit).expect("a limit");
            }
        }
        write(&mine.join("below/cgroup.procs"), pid).expect("a process enters");
    }
    let groups = delegated.groups();
    assert_eq!(groups.len(), 2, "{groups:?}");
    let limited = Facts { path: "/mine".into(), memory_max: 16 << 20, pids_max: 20, cpu_max: 15, ..Facts::default() };
    assert_eq!(groups[0], limited);
    assert_eq!(groups[1], Facts { path: "/mine/below".into(), processes: vec![pid.into()], ..Facts::default() });
    assert!(!delegated.has_too_many());

    cgroup.kill();
    child.wait().expect("it ends");
    delegated.empty().expect("nobody is in it");
    assert_eq!(delegated.groups(), []);
    for directory in &cgroup.directories {
        assert!(directory.join(MACHINE).is_dir() && !directory.join(MACHINE).join("mine").exists());
    }
    cgroup.remove().expect("nobody is in it");
    remove_parent();
}

#[test]
fn a_cgroup_that_handed_controllers_on_takes_a_process_again_when_it_is_emptied() {
    // Version 2's rule of no internal processes, by whatever controller there is. Only the root of all is free of it.
    let own = Hierarchies::read().v2.expect("a v2 hierarchy is mounted, if only one with few controllers");
    let root = own.ancestors().take_while(|above| is_version_2(above)).last().expect("a root").to_owned();
    let offered = read(&root, "cgroup.controllers");
    let controller = offered.split_whitespace().next().expect("a controller, for another can be used by version 1");
    println!("handing on is tried with {controller}, at {}", root.display());
    let was_on = read(&root, "cgroup.subtree_control").contains(controller);
    write(&root.join("cgroup.subtree_control"), format!("+{controller}")).expect("the root hands on");
    let top = root.join(format!("newroot-test-handing-on-{}", std::process::id()));
    let machine = top.join(MACHINE);
    make(&machine).expect("a cgroup");
    let cgroup = Cgroup { directories: vec![top.clone()], others: Vec::new() };
    let delegated = cgroup.delegate(70_000).expect("root may give it away");
    make(&machine.join(delegated::LEAF)).expect("a leaf");
    for directory in [&top, &machine] {
        write(&directory.join("cgroup.subtree_control"), format!("+{controller}")).expect("it hands on");
    }
    let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep starts");
    let procs = machine.join("cgroup.procs");
    let refused = write(&procs, child.id()).map_err(|error| error.to_string());
    let entered = delegated.empty().map(|()| write(&procs, child.id()).map_err(|error| error.to_string()));
    cgroup.kill();
    let ended = child.kill().and_then(|()| child.wait());
    cgroup.remove().expect("nobody is in it");
    if !was_on {
        write(&root.join("cgroup.subtree_control"), format!("-{controller}")).expect("as it was");
    }
    assert!(refused.is_err_and(|error| error.contains("busy")), "it hands a controller on");
    assert_eq!(entered.expect("it can be emptied"), Ok(()));
    assert!(ended.is_ok_and(|status| status.signal() == Some(Signal::SIGKILL as i32)));
}
