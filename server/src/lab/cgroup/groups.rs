//! The cgroups that a learner has made, as the checks of a lesson ask about them. Both versions are told in one form: the
//! hierarchies of version 1 are laid over each other.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use super::delegated::{DEEPEST, Delegated, LEAF, MOST, read};
use super::tree;
use crate::checks::facts::{Cgroup, bounded};

/// A limit of version 1 that is none: the largest number of pages, in bytes.
const UNLIMITED: i64 = 1 << 62;

impl Delegated {
    /// The learner's own cgroups, by path: at most [`MOST`], no deeper than [`DEEPEST`], and without the one that PID 1 and
    /// the shells begin in. Their processes are numbered as outside the machine; those of a cgroup below are not its own.
    pub fn groups(&self) -> Vec<Cgroup> {
        let mut groups = BTreeMap::new();
        for top in &self.directories {
            let mut seen = 0;
            let _gone_meanwhile = tree::each_below(top, |directory, names| {
                seen += 1;
                if names.len() <= DEEPEST && names[0].to_bytes() != LEAF.as_bytes() {
                    let path = names.iter().map(|name| format!("/{}", name.to_string_lossy())).collect();
                    look(directory, groups.entry(bounded(path)).or_default());
                }
                if seen > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        let named = groups.into_iter().map(|(path, group): (String, Cgroup)| Cgroup { path, ..group });
        named.take(MOST).collect()
    }
}

/// Adds what one hierarchy's files say. Those of other controllers are not there, or not in this version.
fn look(directory: BorrowedFd<'_>, group: &mut Cgroup) {
    let text = |name| read(directory, name).unwrap_or_default();
    group.processes.extend(text("cgroup.procs").lines().filter_map(|line| line.parse::<i64>().ok()));
    group.processes.sort_unstable();
    group.processes.dedup();
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
fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok().filter(|number| (0..UNLIMITED).contains(number))
}

/// Of `QUOTA PERIOD`, hundredths of a processor, rounded up: a quota is not none because it is small.
fn quota(text: &str) -> Option<i64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (i64, i64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota >= 0 && period > 0).then(|| quota.saturating_mul(100).saturating_add(period - 1) / period)
}

fn quota_of_version_1(directory: BorrowedFd<'_>) -> Option<i64> {
    let text = |name| read(directory, name).ok();
    quota(&format!("{} {}", text("cpu.cfs_quota_us")?.trim(), text("cpu.cfs_period_us")?.trim()))
}

fn oom_kills(text: &str) -> Option<i64> {
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
