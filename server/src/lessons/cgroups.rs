//! What a lesson calls cgroups: their two versions have other directories, and other names for the same limits. A lesson
//! is written once, and means whichever version the machine has.

use std::fs;

use crate::runtime::trees_of_version_1;

/// What stands for what, in version 1 and in version 2.
const NAMES: [(&str, &str, &str); 7] = [
    ("{memory}", "/sys/fs/cgroup/memory", "/sys/fs/cgroup"),
    ("{pids}", "/sys/fs/cgroup/pids", "/sys/fs/cgroup"),
    ("{cpu}", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup"),
    ("{memory.max}", "memory.limit_in_bytes", "memory.max"),
    ("{memory.events}", "memory.oom_control", "memory.events"),
    ("{cpu.max}", "cpu.cfs_quota_us", "cpu.max"),
    (
        "{why-cgroups}",
        "This machine has cgroups in version 1: there are several trees of them, one for each **controller**, and a process \
         is somewhere in each. Three are yours: `memory`, `pids` and `cpu`.",
        "This machine has cgroups in version 2: there is one tree of them, for all **controllers**, such as `memory`, \
         `pids` and `cpu`.",
    ),
];

/// A lesson's text with the names that this machine has. None of them has a line break.
pub fn name(text: &str) -> String {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // As for the labs: version 2 counts where it has the controllers, whatever else version 1 may have.
    let is_version_1 = trees_of_version_1(&own).iter().any(|tree| tree.split(',').any(|name| name == "memory"));
    name_in(text, is_version_1)
}

fn name_in(text: &str, is_version_1: bool) -> String {
    NAMES.iter().fold(text.to_owned(), |text, (placeholder, version_1, version_2)| {
        text.replace(placeholder, if is_version_1 { version_1 } else { version_2 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_the_name_of_the_machines_version() {
        let text = "echo 32M > {memory}/small/{memory.max}";
        assert_eq!(name_in(text, true), "echo 32M > /sys/fs/cgroup/memory/small/memory.limit_in_bytes");
        assert_eq!(name_in(text, false), "echo 32M > /sys/fs/cgroup/small/memory.max");
        assert!([name(text), name_in(text, true), name_in(text, false)].iter().all(|text| !text.contains('{')));
        assert!(
            NAMES.iter().all(|(_, one, two)| !one.contains('\n') && !two.contains('\n')),
            "lines keep their numbers"
        );
    }
}
