//! What the kernel must be able to do, and is asked to do here once: the parts that a sandbox is made of.

use std::fs;
use std::io;
use std::path::Path;

use nix::NixPath;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::unistd::getpid;

use super::machine::existing;
use super::probe::{probe, with_user_namespace};
use super::{Finding, Plan};
use crate::sys::{self, mount_attribute};

const PLAIN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Where file systems are mounted for a try, in a child's mount namespace alone: a directory that every machine has, and
/// that every user reaches.
const PLACE: &str = "/dev";

const USER_AND_MOUNTS: CloneFlags = CloneFlags::CLONE_NEWUSER.union(CloneFlags::CLONE_NEWNS);

/// All of them. Where there are no user namespaces, what is done in them is left out.
pub fn examine(plan: &Plan) -> Vec<Finding> {
    let mut findings = vec![seccomp(), pidfd()];
    match user_namespaces() {
        Ok(()) => {
            findings.push(Finding::good("namespaces", "user, mount, PID, network, UTS, IPC and cgroup namespaces"));
            findings.extend([overlay(), proc(), devpts(), idmapped_mounts(&plan.state)]);
        }
        Err(error) => findings.push(Finding::lacking("namespaces", error.to_string(), mend_namespaces())),
    }
    findings
}

fn user_namespaces() -> io::Result<()> {
    let all = USER_AND_MOUNTS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    probe(all, || Ok(()))
}

/// The setting that is in the way, as far as it can be told.
fn mend_namespaces() -> String {
    let setting = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
    for kind in ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup"] {
        if setting(&format!("user/max_{kind}_namespaces")).trim() == "0" {
            return format!("sysctl -w user.max_{kind}_namespaces=10000");
        }
    }
    for (name, allowed) in [("unprivileged_userns_clone", "1"), ("apparmor_restrict_unprivileged_userns", "0")] {
        let value = setting(&format!("kernel/{name}"));
        if !value.is_empty() && value.trim() != allowed {
            return format!("sysctl -w kernel.{name}={allowed}");
        }
    }
    "in a container: give it CAP_SYS_ADMIN, no seccomp filter, and the user ids from 1879048192 on".to_owned()
}

/// A lab's root: an overlay whose upper layer is a tmpfs, mounted by the root of a user namespace, or else outside.
fn overlay() -> Finding {
    let try_to_mount = |namespaces, options: &str| {
        probe(namespaces, || {
            mount_on(PLACE, "tmpfs", None)?;
            let part = |name: &str| Path::new(PLACE).join(name);
            ["lower", "upper", "work", "root"].into_iter().try_for_each(|name| fs::create_dir(part(name)))?;
            let (lower, upper, work) = (part("lower"), part("upper"), part("work"));
            let (lower, upper, work) = (lower.display(), upper.display(), work.display());
            let layers = format!("{options}lowerdir={lower},upperdir={upper},workdir={work}");
            mount_on(&part("root"), "overlay", Some(&layers))
        })
    };
    let inside = try_to_mount(USER_AND_MOUNTS, "userxattr,");
    let mend = "use Linux 6.6 or newer, where tmpfs has user extended attributes, with overlayfs (modprobe overlay)";
    match &inside {
        Err(error) if try_to_mount(CloneFlags::CLONE_NEWNS, "").is_ok() => {
            let found = format!("not in a user namespace ({error}): a reset takes a whole new machine");
            Finding::note("overlay", found, mend)
        }
        _ => finding("overlay", "an overlay on a tmpfs can be mounted in a user namespace", inside, mend),
    }
}

/// A lab's own /proc and /sys, which a user namespace gets only where it can see whole ones.
fn proc() -> Finding {
    let result = probe(USER_AND_MOUNTS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET, || {
        mount_on(PLACE, "proc", None)?;
        // Read-only, as labs have it: in a container it may be had in no other way.
        mount(Some("sysfs"), PLACE, Some("sysfs"), PLAIN | MsFlags::MS_RDONLY, None::<&str>).map_err(io::Error::from)
    });
    let mend =
        "unmount what covers a part of /proc or /sys; `serve` does so itself in a container that has CAP_SYS_ADMIN";
    finding("proc and sysfs", "new ones can be mounted in a user namespace", result, mend)
}

fn devpts() -> Finding {
    let result = probe(USER_AND_MOUNTS, || mount_on(PLACE, "devpts", Some("newinstance,ptmxmode=0666")));
    finding(
        "terminals",
        "devpts has instances of its own for each lab",
        result,
        "build the kernel with CONFIG_UNIX98_PTYS",
    )
}

/// The lower layer of a lab's root is the image as it is on disk, seen with the lab's user ids.
fn idmapped_mounts(state: &Path) -> Finding {
    let directory = existing(state);
    let result = with_user_namespace(|namespace| {
        let copy = sys::clone_mount(directory)?;
        sys::set_mount_attributes(&copy, mount_attribute::IDMAP, Some(&namespace.into()))
    });
    let good = format!("the file system of {} can be mounted with an id mapping", state.display());
    finding(
        "id mappings",
        &good,
        result,
        "put --state on ext4, xfs, btrfs or a tmpfs; a container's own root cannot do it",
    )
}

/// The filter that shows a lab's system calls, in the form that Newroot needs (Linux 5.19).
fn seccomp() -> Finding {
    let allow =
        libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let result = probe(CloneFlags::empty(), || sys::install_filter(&[allow]).map(drop));
    let mend =
        "use Linux 5.19 or newer with CONFIG_SECCOMP_FILTER, and do not start it below such a filter, as in a lab";
    finding("seccomp", "system calls can be shown (user notification, WAIT_KILLABLE_RECV)", result, mend)
}

fn pidfd() -> Finding {
    let result = sys::pidfd(getpid()).map(drop);
    finding(
        "pidfd",
        "the end of a process can be waited for",
        result,
        "use Linux 5.3 or newer, without a filter on pidfd_open",
    )
}

fn finding(what: &'static str, good: &str, result: io::Result<()>, mend: &str) -> Finding {
    match result {
        Ok(()) => Finding::good(what, good),
        Err(error) => Finding::lacking(what, error.to_string(), mend),
    }
}

fn mount_on<P: NixPath + ?Sized>(place: &P, kind: &str, options: Option<&str>) -> io::Result<()> {
    mount(Some(kind), place, Some(kind), PLAIN, options).map_err(io::Error::from)
}
