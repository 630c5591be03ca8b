//! What PID 1 of a sandbox does about cgroups: it mounts the hierarchies where programs look for them, and goes into a
//! leaf of the delegated cgroup, so that the learner can make others beside it.

use std::fs;
use std::os::unix::fs::symlink;

use nix::mount::{MsFlags, mount};

use super::delegated::{Delegated, LEAF};
use super::{CONTROLLERS, TCP_LIMIT};
use crate::lab::sandbox::{Step, StepError};
use crate::runtime::trees_of_version_1;

const PLACE: &str = "root/sys/fs/cgroup";
const DATA: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Mounts what there is: the one hierarchy of version 2, or a tmpfs with a directory for each controller of version 1. The
/// calling process must have a cgroup namespace that is rooted in the delegated cgroup: nothing above it appears.
pub fn mount_hierarchies(delegated: &Delegated) -> Result<(), StepError> {
    let own = fs::read_to_string("root/proc/self/cgroup").step("read which cgroups this process is in")?;
    let trees = trees_of_version_1(&own);
    let tree_of = |wanted: &str| trees.iter().copied().find(|tree| tree.split(',').any(|name| name == wanted));
    // Version 1 may have other controllers beside a version 2 that has ours.
    if CONTROLLERS.iter().any(|controller| tree_of(controller).is_none()) {
        mount_version_2(PLACE)?;
        // What the learner makes has the files of all limits at once. Where a container has only some controllers, the
        // server has refused to make labs.
        return fs::write(format!("{PLACE}/cgroup.subtree_control"), "+memory +pids +cpu")
            .step("hand controllers on to the learner's cgroups");
    }
    mount(Some("cgroup"), PLACE, Some("tmpfs"), DATA, Some("size=16k,mode=755")).step("mount a tmpfs for cgroups")?;
    for controller in CONTROLLERS {
        let Some(tree) = tree_of(controller) else { continue };
        mount_version_1(tree)?;
        if tree != controller {
            // Programs look for `cpu`, whatever shares a hierarchy with it.
            symlink(tree, format!("{PLACE}/{controller}")).step("link a controller to its hierarchy")?;
        }
    }
    if delegated.has_version_2() {
        let place = format!("{PLACE}/unified");
        fs::create_dir(&place).step("make a directory for a cgroup hierarchy")?;
        mount_version_2(&place)?;
    }
    mount(
        None::<&str>,
        PLACE,
        None::<&str>,
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | DATA,
        None::<&str>,
    )
    .step("make the tmpfs for cgroups read-only")
}

fn mount_version_2(place: &str) -> Result<(), StepError> {
    mount(Some("cgroup2"), place, Some("cgroup2"), DATA, None::<&str>).step("mount cgroups, version 2")?;
    enter_leaf(place)
}

fn mount_version_1(tree: &str) -> Result<(), StepError> {
    let place = format!("{PLACE}/{tree}");
    if fs::exists(&place).step("look for a cgroup hierarchy")? {
        // Two of our controllers share it.
        return Ok(());
    }
    fs::create_dir(&place).step("make a directory for a cgroup hierarchy")?;
    // The options name the hierarchy: it exists already, and appears here once more.
    mount(Some("cgroup"), place.as_str(), Some("cgroup"), DATA, Some(tree)).step("mount cgroups, version 1")?;
    enter_leaf(&place)
}

fn enter_leaf(place: &str) -> Result<(), StepError> {
    fs::create_dir(format!("{place}/{LEAF}")).step("make a cgroup for PID 1")?;
    if let Ok(limit) = fs::read_to_string(format!("{place}/{TCP_LIMIT}")) {
        // The number does not matter, for the one above holds; that there is one makes this cgroup's sockets count.
        fs::write(format!("{place}/{LEAF}/{TCP_LIMIT}"), limit.trim()).step("have the sockets' memory counted")?;
    }
    fs::write(format!("{place}/{LEAF}/cgroup.procs"), "0").step("enter the cgroup for PID 1")
}
