//! The roots of cgroup mounts. The kernel tells them as they are in the reader's cgroup namespace (cgroup_namespaces(7)), and
//! that of the lab process, who reads, is not the machine's.

use std::fs;
use std::io;
use std::rc::Rc;

use shared::mount::Mount;

use super::{LAB, MACHINE};

/// What a machine sees as `/`, as the lab process sees it: one path for each hierarchy.
#[derive(Default)]
pub struct Roots(Vec<String>);

impl Roots {
    /// Those of the machine that the calling process serves.
    pub fn of_own_machine() -> io::Result<Roots> {
        Ok(Roots::beside(&fs::read_to_string("/proc/self/cgroup")?))
    }

    /// Those of the machine whose lab process has this /proc/PID/cgroup: lines of NUMBER:CONTROLLERS:PATH.
    fn beside(cgroups: &str) -> Roots {
        let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let labs = paths.filter_map(|path| path.strip_suffix(LAB)).filter(|parent| parent.ends_with('/'));
        Roots(labs.map(|parent| format!("{parent}{MACHINE}")).collect())
    }

    /// Gives the mount of a cgroup hierarchy the root that it has in the machine.
    pub fn seen_inside(&self, mount: &mut Rc<Mount>) {
        if !mount.fs_type.starts_with("cgroup") {
            return;
        }
        let below =
            |root: &String| mount.root.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(below) = self.0.iter().find_map(below) {
            let root = if below.is_empty() { "/" } else { below }.to_owned();
            Rc::make_mut(mount).root = root;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_told_as_in_the_machine() {
        let roots = Roots::beside("4:memory:/newroot/7/lab\n3:cpu,cpuacct:/a:b/newroot/7/lab\n2:freezer:/slab\n0::/\n");
        for (fs_type, outside, inside) in [
            ("cgroup", "/newroot/7/machine", "/"),
            ("cgroup", "/a:b/newroot/7/machine/mine", "/mine"),
            ("cgroup2", "/newroot/7/machines", "/newroot/7/machines"),
            ("tmpfs", "/newroot/7/machine", "/newroot/7/machine"),
        ] {
            let line = format!("36 35 0:1 {outside} /mnt rw - {fs_type} none rw");
            let mut mount = Rc::new(Mount::parse(&line).expect("a row"));
            roots.seen_inside(&mut mount);
            assert_eq!(mount.root, inside);
        }
    }
}
