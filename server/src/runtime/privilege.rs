//! Why the kernel makes no new namespaces for a process: the privilege that it lacks, or a limit that is reached.

use std::fs;

use nix::errno::Errno;
use nix::unistd::geteuid;

/// The reason for this errno of clone(2) with namespace flags, and what to do.
pub fn why_no_namespaces(errno: Errno) -> String {
    match errno {
        Errno::EPERM if !geteuid().is_root() => {
            format!("making them takes root (CAP_SYS_ADMIN), and this is user {}: start it with sudo", geteuid())
        }
        Errno::EPERM if !has_capability(CAP_SYS_ADMIN) => {
            "making them takes CAP_SYS_ADMIN, which this root does not have, as in most containers: start it outside, \
             or give it that capability"
                .to_owned()
        }
        Errno::EPERM => "a seccomp filter or a security module forbids it to this root".to_owned(),
        Errno::ENOSPC => {
            "there are as many already as the limits in /proc/sys/user/ allow: raise them there".to_owned()
        }
        Errno::EINVAL => "this kernel was built without one of these kinds of namespaces".to_owned(),
        Errno::EAGAIN => {
            "there are as many processes as the limits allow (`ulimit -u`, or pids.max of the cgroup)".to_owned()
        }
        _ => "see clone(2)".to_owned(),
    }
}

/// Its number in the capability sets (capabilities(7)).
const CAP_SYS_ADMIN: u32 = 21;

/// Whether this process has a capability now, by its number.
pub fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> number & 1 == 1)
}
