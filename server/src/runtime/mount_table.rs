//! Why a call that mounts or moves mounts was refused: the kernel has one errno for many reasons, so the mount table is
//! asked for the one at hand. Changes nothing.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

/// Which of the reasons that pivot_root(2) lists for this errno holds here.
pub fn why_not_pivot(rootfs: &Path, errno: Errno) -> String {
    match errno {
        Errno::EINVAL => explain(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(), rootfs),
        Errno::EBUSY => format!("{} is the root of this process already", rootfs.display()),
        Errno::EPERM => "it takes CAP_SYS_ADMIN in the user namespace that the mount namespace belongs to".to_owned(),
        _ => "see pivot_root(2)".to_owned(),
    }
}

/// What this errno of mount(2) means for a new file system of this type.
pub fn why_not_mount(kind: &str, errno: Errno) -> &'static str {
    match (errno, kind) {
        (Errno::EPERM, "sysfs") => "it shows devices of the network namespace, and that is not of this user namespace",
        (Errno::EPERM, "proc") => "a user namespace gets a new one only where it sees a whole one already",
        (Errno::EPERM, "cgroup" | "cgroup2") => "it takes a cgroup namespace of this user namespace",
        (Errno::EPERM, _) => "it takes CAP_SYS_ADMIN",
        (Errno::ENODEV, _) => "this kernel has no such file system",
        (Errno::EBUSY, _) => "it is mounted elsewhere with other options",
        (Errno::ENOSPC, _) => "this mount namespace has as many mounts as /proc/sys/fs/mount-max allows",
        _ => "see mount(2)",
    }
}

/// Which reason for EINVAL a table, as in /proc/PID/mountinfo, gives.
pub fn explain(table: &str, rootfs: &Path) -> String {
    // proc_pid_mountinfo(5): number, parent's number, device, root, mount point, options, …, `-`, type, …
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(' ').collect()).collect();
    let field = |row: &Vec<&str>, index: usize| row.get(index).copied().unwrap_or_default().to_owned();
    // Where several mounts are on one directory, the last one counts.
    let on = |point: &str| rows.iter().rev().find(|row| row.get(4) == Some(&point));
    let is_shared =
        |row: &Vec<&str>| row.iter().take_while(|word| **word != "-").any(|word| word.starts_with("shared:"));
    let is_rootfs = |row: &Vec<&str>| row.windows(2).any(|words| words == ["-", "rootfs"]);
    let rootfs = rootfs.display().to_string().replace(' ', "\\040");
    let Some(root) = on("/") else {
        return "the root directory of this process is no mount point, as after a chroot(2)".to_owned();
    };
    if is_rootfs(root) {
        return "the root here is the kernel's first one, rootfs, which cannot be moved; use --root chroot".to_owned();
    }
    let Some(new) = on(&rootfs) else { return format!("{rootfs} is no mount point") };
    match rows.iter().find(|row| field(row, 0) == field(new, 1)) {
        Some(parent) if is_shared(parent) => format!(
            "the mount that it lies on, {}, is shared, and the move would have to happen in other namespaces too; \
             leave --propagation at private",
            field(parent, 4)
        ),
        _ => "the mount that the root here lies on is shared or out of reach; make it private".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_for_einval_has_its_words() {
        let root = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n";
        let shared = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n";
        let new = "99 27 254:0 /fs/a/rootfs /fs/a/rootfs rw,relatime - ext4 /dev/vda rw\n";
        for (table, words) in [
            (String::new(), "as after a chroot(2)"),
            ("1 1 0:2 / / rw - rootfs rootfs rw\n".to_owned(), "the kernel's first one"),
            (root.to_owned(), "/fs/a/rootfs is no mount point"),
            (shared.to_owned() + new, "lies on, /, is shared"),
            (root.to_owned() + new, "out of reach"),
        ] {
            let said = explain(&table, Path::new("/fs/a/rootfs"));
            assert!(said.contains(words), "{table}: {said}");
        }
    }
}
