//! The cgroups that a learner has made, as the checks of a lesson ask about them. Both versions are told in one form: the
//! hierarchies of version 1 are laid over each other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use super::delegated::{DEEPEST, Delegated, LEAF, MOST, read};
use super::tree;

/// A limit of version 1 that is none: the largest number of pages, in bytes.
const UNLIMITED: u64 = 1 << 62;

/// A cgroup of the learner's own. A limit of 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Where it is below the delegated one, as /proc/PID/cgroup shows it in the machine: `/mine`.
    pub path: String,
    /// Its processes, as numbered outside the machine; those below it are not counted.
    pub processes: BTreeSet<i32>,
    /// Bytes of memory.
    pub memory_max: u64,
    /// Processes and threads.
    pub pids_max: u64,
    /// Hundredths of one processor.
    pub cpu_max: u64,
    /// How many processes the kernel has killed for want of memory, in it and below it.
    pub oom_kills: u64,
}

impl Delegated {
    /// The learner's own cgroups, by path: at most [`MOST`], no deeper than [`DEEPEST`], and without the one that PID 1 and
    /// the shells begin in.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups = BTreeMap::new();
        for top in &self.directories {
            let mut seen = 0;
            let _gone_meanwhile = tree::each_below(top, |directory, names| {
                seen += 1;
                let path: String = names.iter().map(|name| format!("/{}", name.to_string_lossy())).collect();
                if names.len() <= DEEPEST && names[0].to_bytes() != LEAF.as_bytes() {
                    let group = groups.entry(path.clone()).or_insert_with(|| Group { path, ..Group::default() });
                    look(directory, group);
                }
                if seen > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        groups.into_values().take(MOST).collect()
    }
}

/// Adds what one hierarchy's files say. Those of other controllers are not there, or not in this version.
fn look(directory: BorrowedFd<'_>, group: &mut Group) {
    let text = |name| read(directory, name).unwrap_or_default();
    group.processes.extend(text("cgroup.procs").lines().filter_map(|line| line.parse::<i32>().ok()));
    let limits = [
        (&mut group.memory_max, number(&text("memory.max")).or(number(&text("memory.limit_in_bytes")))),
        (&mut group.pids_max, number(&text("pids.max"))),
        (&mut group.cpu_max, quota(&text("cpu.max")).or(quota_of_version_1(directory))),
        (&mut group.oom_kills, oom_kills(&text("memory.events")).or(oom_kills(&text("memory.oom_control")))),
    ];
    for (limit, found) in limits {
        *limit = found.unwrap_or(*limit);
    }
}

/// A limit; "max" and the like are none.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|number| *number < UNLIMITED)
}

/// Of `QUOTA PERIOD`, hundredths of a processor, rounded up: a quota is not none because it is small.
fn quota(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    Some((quota.checked_mul(100)?).div_ceil(period.max(1)))
}

fn quota_of_version_1(directory: BorrowedFd<'_>) -> Option<u64> {
    let text = |name| read(directory, name).ok();
    quota(&format!("{} {}", text("cpu.cfs_quota_us")?.trim(), text("cpu.cfs_period_us")?.trim()))
}

fn oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions_are_told_in_one_form() {
        assert_eq!((number("max\n"), number("9223372036854771712\n"), number("20\n")), (None, None, Some(20)));
        assert_eq!(
            (quota("max 100000\n"), quota("20000 100000\n"), quota("1000 1000000\n")),
            (None, Some(20), Some(1))
        );
        assert_eq!(quota("-1 100000"), None, "version 1 without a quota");
        assert_eq!(oom_kills("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
    }
}
