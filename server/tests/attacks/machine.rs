//! What the machine itself counts of what its labs have taken.

use std::collections::BTreeMap;
use std::fs;

/// Counts that everybody on the machine shares.
#[derive(Clone, Debug)]
pub struct Machine(BTreeMap<String, i64>);

/// The lines of /proc/meminfo that tell of the kernel's own memory, in KiB.
const KERNEL_MEMORY: [&str; 5] = ["SUnreclaim", "KernelStack", "PageTables", "VmallocUsed", "Percpu"];

impl Machine {
    /// As it is now.
    pub fn look() -> Machine {
        let mut counts = BTreeMap::new();
        let first = |path: &str| -> i64 {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
        };
        for (name, path) in [
            ("pseudoterminals", "/proc/sys/kernel/pty/nr"),
            ("aio requests", "/proc/sys/fs/aio-nr"),
            ("open files", "/proc/sys/fs/file-nr"),
        ] {
            counts.insert(name.to_owned(), first(path));
        }
        let memory = fs::read_to_string("/proc/meminfo").unwrap();
        let of = |name: &str| -> i64 {
            let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("0");
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        counts.insert("KiB of the kernel".to_owned(), KERNEL_MEMORY.iter().map(|name| of(name)).sum());
        counts.insert("KiB that are not available".to_owned(), of("MemTotal") - of("MemAvailable"));
        let sockets = fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let cgroups = sockets.lines().find_map(|line| line.strip_prefix("memory\t")?.split('\t').nth(1));
        counts.insert("memory cgroups".to_owned(), cgroups.and_then(|count| count.parse().ok()).unwrap_or_default());
        Machine(counts)
    }

    /// What it counts more of by now, in words.
    pub fn more_than(&self, before: &Machine) -> String {
        let more = self.0.iter().filter_map(|(name, now)| {
            let more = now - before.0[name];
            (more != 0).then(|| format!("{more:+} {name}"))
        });
        more.collect::<Vec<_>>().join(", ")
    }

    /// MiB that the kernel has taken for itself since.
    pub fn kernel_mebibytes_since(&self, before: &Machine) -> i64 {
        (self.0["KiB of the kernel"] - before.0["KiB of the kernel"]) >> 10
    }
}
