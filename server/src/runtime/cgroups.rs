//! The container's /sys/fs/cgroup: the limits that its processes run under, to be read. A machine has its controllers in
//! version 2 of cgroups, one tree for all, or in version 1, a tree for each (cgroups(7)).

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::symlinkat;

use super::error::RunError;
use super::mounts::{DATA, FileSystem, NONE, mount_in_image};
use super::rootfs::Rootfs;

/// Read-only, or a program could lift its own limits.
const READ_ONLY: MsFlags = DATA.union(MsFlags::MS_RDONLY);

/// Where all of them are.
const PLACE: &str = "sys/fs/cgroup";

// step: mount-cgroups
/// Mounts what this machine has: its one tree, or a tmpfs with a directory for each of many.
pub fn mount_cgroups(rootfs: &Path) -> Result<(), RunError> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let trees = trees_of_version_1(&own);
    if trees.is_empty() {
        let tree = FileSystem { place: PLACE, kind: "cgroup2", flags: READ_ONLY, options: None };
        return mount_in_image(rootfs, &tree);
    }
    mount_in_image(rootfs, &FileSystem { place: PLACE, kind: "tmpfs", flags: DATA, options: Some("mode=755") })?;
    let filled = trees.iter().try_for_each(|tree| mount_tree(rootfs, tree));
    let directory = Rootfs::open(rootfs)
        .and_then(|inside| inside.directory(Path::new(PLACE)))
        .map_err(|errno| RunError::MountPoint { path: rootfs.join(PLACE), errno })?;
    let target = format!("/proc/self/fd/{}", directory.as_raw_fd());
    if filled.is_err() {
        // Half of the trees would be a riddle. MNT_DETACH, because the descriptor keeps it busy.
        let _ = umount2(target.as_str(), MntFlags::MNT_DETACH);
        return filled;
    }
    // Now that every directory is made, nobody is to make another. MS_BIND: this mount only changes, and not the file
    // system, which does not matter here, but is what a user namespace may do (mount(2), "Remounting").
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | READ_ONLY;
    mount(NONE, target.as_str(), NONE, flags, NONE).map_err(|errno| RunError::ReadOnlyCgroups { errno })
}

/// Mounts a tree on a directory named after its controllers.
fn mount_tree(rootfs: &Path, controllers: &str) -> Result<(), RunError> {
    let name = controllers.trim_start_matches("name=");
    let place = format!("{PLACE}/{name}");
    // The options name the tree: one with these controllers exists already, and it is that one which appears.
    let tree = FileSystem { place: &place, kind: "cgroup", flags: READ_ONLY, options: Some(controllers) };
    mount_in_image(rootfs, &tree)?;
    let link = |controller: &str| {
        let directory = Rootfs::open(rootfs)?.directory(Path::new(PLACE))?;
        symlinkat(name, &directory, controller)
    };
    // Programs look for `cpu`, whatever shares a tree with it.
    name.split(',').filter(|_| name.contains(',')).try_for_each(|controller| {
        let failed = |errno| RunError::CgroupLink { controller: controller.to_owned(), errno };
        link(controller).map_err(failed)
    })
}

/// The controllers of each tree of version 1 that this process is in, from the text of /proc/PID/cgroup (cgroups(7)).
/// None where only names are left of that version: then the controllers are in version 2.
pub fn trees_of_version_1(text: &str) -> Vec<&str> {
    // NUMBER:CONTROLLERS:PATH; version 2 has no list of controllers.
    let trees: Vec<&str> =
        text.lines().filter_map(|line| line.split(':').nth(1)).filter(|tree| !tree.is_empty()).collect();
    if trees.iter().any(|tree| !tree.starts_with("name=")) { trees } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_cgroups_is_that_of_the_controllers() {
        assert_eq!(trees_of_version_1("0::/user.slice\n"), [""; 0]);
        assert_eq!(trees_of_version_1("1:name=systemd:/\n0::/\n"), [""; 0]);
        let hybrid = "4:memory:/a:b\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n";
        assert_eq!(trees_of_version_1(hybrid), ["memory", "cpu,cpuacct", "name=systemd"]);
    }
}
