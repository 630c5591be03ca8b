//! A learner who wants out: what the root of a lab tries on the machine from the shell, and what the machine answers.
//! System calls one by one are in `refused_calls.rs`.

use std::fs;

use crate::common::playground::{HOST, Page, Playground};

/// Whether a command succeeds in a lab.
async fn succeeds(page: &mut Page, command: &str) -> bool {
    let said = page.output_of(HOST, &format!("( {command} ) > /tmp/said 2>&1; echo \"status\"=$?=")).await;
    let status = said.rsplit_once("status=").unwrap_or_else(|| panic!("{said}")).1;
    status.starts_with("0=")
}

#[tokio::test]
async fn the_root_of_a_lab_is_nobody_on_the_machine() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    // What must work, and shows that the commands below fail for a reason of ours.
    for command in [
        "mount -t tmpfs mine /mnt && umount /mnt",
        "chown 1000:1000 /tmp/said && chmod 4755 /tmp/said",
        "unshare -Urm sh -c 'mount -t tmpfs mine /mnt'",
        "hostname other && hostname lab",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "kill -0 1",
        "echo 900 > /proc/self/oom_score_adj",
        "wget -q -O - http://127.0.0.1:5000/v2/",
    ] {
        let well = succeeds(&mut page, command).await;
        assert!(well, "{command}: {}", page.output_of(HOST, "cat /tmp/said").await);
    }
    let port = playground.address().port();
    let server = format!("wget -T 5 -q -O - http://127.0.0.1:{port}/");
    for command in [
        // Devices, by making them, by mounting them, and by what leads to all of them.
        "mknod /tmp/disk b 254 0",
        "mknod /tmp/null c 1 3",
        "mount -t ext4 /dev/vda /mnt",
        "mount -t devtmpfs none /mnt",
        "mount -o loop /bin/busybox /mnt",
        // The kernel's own files, with /sys made writable first: its mount is the learner's, its files are not.
        "mount -o remount,rw /sys; echo mem > /sys/power/state",
        "echo never > /sys/kernel/mm/transparent_hugepage/enabled",
        "echo h > /proc/sysrq-trigger",
        "echo '|/tmp/said' > /proc/sys/kernel/core_pattern",
        "echo /tmp/said > /proc/sys/kernel/modprobe",
        "echo 0 > /proc/sys/kernel/randomize_va_space",
        "echo 1 > /proc/sys/vm/drop_caches",
        "head -c 1 /proc/kcore",
        "head -c 1 /proc/kmsg",
        "dmesg",
        "mount -t debugfs none /mnt",
        "mount -t tracefs none /mnt",
        "mount -t securityfs none /mnt",
        "mount -t configfs none /mnt",
        "mount -t bpf none /mnt",
        // Its own limits, by each version of cgroups; and cgroups of controllers that no lab is given.
        "mount -t cgroup -o pids none /mnt && echo max > /mnt/pids.max",
        "mount -t cgroup -o memory none /mnt && echo -1 > /mnt/memory.limit_in_bytes",
        "mount -t cgroup -o pids none /mnt && echo /tmp/said > /mnt/release_agent",
        "mount -t cgroup2 none /mnt && echo max > /mnt/pids.max",
        "mount -t cgroup -o devices none /mnt && mkdir /mnt/below",
        "mount -t cgroup -o freezer none /mnt && mkdir /mnt/below",
        // The machine's clock, and the machine.
        "date -s 2000-01-01; test $(date +%Y) = 2000",
        "hwclock -w",
        "reboot -f",
        // Everybody else: other processes, and the network beyond loopback, the server among it.
        "test $(ps | wc -l) -gt 20",
        &server,
        "ip route | grep -q .",
    ] {
        assert!(!succeeds(&mut page, command).await, "{command}: {}", page.output_of(HOST, "cat /tmp/said").await);
        page.output_of(HOST, "umount /mnt 2>/dev/null").await;
    }
    assert!(!fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().contains("/tmp/said"));
    // It is still the learner's machine.
    assert!(page.output_of(HOST, "newroot pull busybox").await.contains("Pulling done"));
}
