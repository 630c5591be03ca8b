//! What is mounted in a container, and who sees it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use shared::mount::Mount;

use crate::common::{names_in, text_of};
use crate::machine::{Container, Machine, mounts_of, namespace_of};

#[test]
fn ps_needs_proc() {
    let machine = Machine::new();
    let output = machine.run(&["busybox", "ps"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "only the heading: {}", text_of(&output));
    let said = machine.output_of(&["--mount", "proc"], "ps");
    assert!(said.lines().nth(1).is_some_and(|line| line.trim_start().starts_with("1 ")), "{said}");
    assert_eq!(names_in(&machine.rootfs().join("proc")), [""; 0], "it is mounted in the container alone");
    // An image's own idea of where /proc is must not lead out of it.
    let outside = tempfile::tempdir().unwrap();
    fs::remove_dir(machine.rootfs().join("proc")).unwrap();
    std::os::unix::fs::symlink(outside.path(), machine.rootfs().join("proc")).unwrap();
    for set in ["proc", "default"] {
        let (status, said) = machine.failure_of(&["--mount", set, "busybox", "ps"]);
        assert_eq!(status, Some(125));
        assert!(said.contains("EEXIST") && said.contains("/proc in the image"), "{said}");
    }
    assert_eq!(names_in(outside.path()), [""; 0]);
}

/// What is asked of a container with `--mount default`, and what it answers in every place where it runs.
const LOOK_AROUND: &str = "busybox ps | busybox head -n 2 | busybox tail -n 1 | busybox awk '{ print $1 }'; \
    busybox df /dev | busybox tail -n 1 | busybox awk '{ print $6 }'; \
    echo lost > /dev/null; busybox head -c 3 /dev/zero | busybox wc -c; \
    ls -d /dev/ptmx /dev/pts/ptmx /dev/fd/0; ls /dev/shm; echo kept > /dev/shm/file; cat /dev/shm/file";
const SEEN: &str = "1\n/dev\n3\n/dev/fd/0\n/dev/ptmx\n/dev/pts/ptmx\nkept\n";

#[test]
fn the_default_mounts_are_dockers() {
    let machine = Machine::new();
    for root in ["chroot", "pivot"] {
        let flags = ["--root", root, "--mount", "default"];
        assert_eq!(machine.output_of(&flags, LOOK_AROUND), SEEN, "{root}");
        let container = Container::start(&machine, &flags, "true");
        let mounts = mounts_of(container.first_process());
        for (place, kind) in [
            ("/proc", "proc"),
            ("/dev", "tmpfs"),
            ("/dev/pts", "devpts"),
            ("/dev/shm", "tmpfs"),
            ("/dev/mqueue", "mqueue"),
            ("/sys", "sysfs"),
        ] {
            assert!(mounts.iter().any(|m| m.mount_point == place && m.fs_type == kind), "{root}: {place}: {mounts:?}");
        }
        // As a Docker engine has it: with controllers in version 1 a tmpfs and a tree for each, else the one of version 2.
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let trees: Vec<&str> =
            own.lines().filter_map(|line| line.split(':').nth(1)).filter(|tree| !tree.is_empty()).collect();
        let is_version_1 = trees.iter().any(|tree| !tree.starts_with("name="));
        let top = mounts.iter().find(|m| m.mount_point == "/sys/fs/cgroup").expect("something is there");
        assert_eq!(top.fs_type, if is_version_1 { "tmpfs" } else { "cgroup2" });
        for tree in trees.iter().filter(|_| is_version_1) {
            let place = format!("/sys/fs/cgroup/{}", tree.trim_start_matches("name="));
            assert!(mounts.iter().any(|m| m.mount_point == place && m.fs_type == "cgroup"), "{place}: {mounts:?}");
        }
        for mount in mounts.iter().filter(|mount| mount.mount_point.starts_with("/sys")) {
            assert!(mount.options.starts_with("ro,nosuid,nodev,noexec"), "{mount:?}");
        }
        container.end();
        let (status, said) =
            machine.failure_of(&[&flags[..], &["busybox", "sh", "-c", "echo 1 > /sys/kernel/mm/ksm/run"]].concat());
        assert!(status != Some(0) && said.contains("Read-only file system"), "{said}");
    }
    assert_eq!(names_in(&machine.rootfs().join("dev")), [""; 0], "nothing gets into the image");
}

#[test]
fn the_default_mounts_leave_out_what_a_user_namespace_may_not_have() {
    let machine = Machine::new();
    for root in ["chroot", "pivot"] {
        let mut command = Command::new("unshare");
        let inner = machine.run(&["--root", root, "--mount", "default", "busybox", "sh", "-c", LOOK_AROUND]);
        let output = command
            .args(["--user", "--map-root-user", "--mount"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), SEEN, "{root}: {}", text_of(&output));
        // Its network namespace is still the machine's, and sysfs would show that one's devices.
        assert!(text_of(&output).contains("Left out /sys: cannot mount(2) sysfs"), "{}", text_of(&output));
    }
}

#[test]
fn a_mount_in_the_container_is_not_seen_outside() {
    let machine = Machine::new();
    let container = Container::start(&machine, &[], "mount -t tmpfs only-inside /mnt");
    let (inside, parent) = (container.first_process(), container.process.id());
    let has_it = |mounts: Vec<Mount>| mounts.iter().any(|mount| mount.source == "only-inside");
    assert!(has_it(mounts_of(inside)));
    assert!(!has_it(mounts_of("self")));
    for kind in ["mnt", "pid", "uts", "ipc"] {
        assert_ne!(namespace_of(inside, kind), namespace_of("self", kind), "{kind}");
        assert_eq!(namespace_of(parent, kind), namespace_of("self", kind), "{kind}: the parent stays outside");
    }
    let root = fs::read_link(format!("/proc/{inside}/root")).unwrap();
    assert_eq!(root, machine.rootfs());
    container.end();
}

/// Runs a container in a machine of its own: a mount namespace in which `/` is shared, as under systemd. Says whether
/// a mount made in the container has come out of it.
fn leaks(machine: &Machine, flags: &str) -> bool {
    let script = format!(
        "{newroot} run --fs {fs} {flags} busybox mount -t tmpfs leaked /mnt || exit 9; grep -c ' leaked ' /proc/self/mountinfo",
        newroot = env!("CARGO_BIN_EXE_newroot"),
        fs = machine.fs.path().display()
    );
    let output =
        Command::new("unshare").args(["--mount", "--propagation", "shared", "sh", "-c", &script]).output().unwrap();
    match (output.status.code(), output.stdout.as_slice()) {
        (Some(0), b"1\n") => true,
        (Some(1), b"0\n") => false,
        _ => panic!("{flags}: {}", text_of(&output)),
    }
}

#[test]
fn what_is_mounted_leaks_by_propagation_or_without_a_namespace_and_not_otherwise() {
    let machine = Machine::new();
    assert!(!leaks(&machine, ""));
    assert!(!leaks(&machine, "--propagation private"));
    assert!(!leaks(&machine, "--propagation slave"));
    assert!(leaks(&machine, "--propagation shared"));
    assert!(leaks(&machine, "--propagation unchanged"));
    assert!(leaks(&machine, "--no-mount-ns"));
    assert!(!mounts_of("self").iter().any(|mount| mount.source == "leaked"), "this machine stays clean");
}

#[test]
fn pivot_root_leaves_no_other_mount_in_reach() {
    let machine = Machine::new();
    let container = Container::start(&machine, &["--root", "pivot", "--mount", "proc"], "true");
    let mounts = mounts_of(container.first_process());
    let places: Vec<&str> = mounts.iter().map(|mount| mount.mount_point.as_str()).collect();
    assert_eq!(places, ["/", "/proc"]);
    assert!(machine.rootfs().as_os_str().as_bytes().ends_with(mounts[0].root.as_bytes()), "{}", mounts[0].root);
    container.end();
    // chroot(2) moves the view alone: the old root is still mounted, so `/` is no mount in the new view.
    let container = Container::start(&machine, &["--mount", "proc"], "true");
    let mounts = mounts_of(container.first_process());
    assert_eq!(mounts.iter().map(|mount| mount.mount_point.as_str()).collect::<Vec<_>>(), ["/proc"]);
    container.end();
    let (status, said) = machine.failure_of(&["--root", "pivot", "--no-mount-ns", "busybox", "sh"]);
    assert_eq!(status, Some(125), "{said}");
    let (_, said) = machine.failure_of(&["--root", "pivot", "--propagation", "shared", "busybox", "sh"]);
    assert!(said.contains("pivot_root(2)") && said.contains("EINVAL"), "{said}");
}
