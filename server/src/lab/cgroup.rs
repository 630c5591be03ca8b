//! A lab's cgroup: made and removed by the server, entered by the lab process. Plain file writes, on cgroup v1
//! (one hierarchy per controller) and v2 (cgroups(7), Documentation/admin-guide/cgroup-v2.rst).
//!
//! ```text
//! newroot/ID          the lab's limits, which are the machine's root's
//! ├ lab               the lab process and the zygote
//! └ machine           delegated to the learner: the root of the sandbox's cgroup namespace
//!   ├ init            PID 1 and the shells, to begin with
//!   └ …               what the learner makes
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, chown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod delegated;
mod groups;
pub mod inside;
mod roots;
mod tree;

pub use delegated::{Delegated, MOST, MOST_DYING};
pub use roots::Roots;

/// What a lab may use at most.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, the files of its tmpfs mounts included.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Hundredths of one processor, at most.
    pub cpu_percent: u64,
    /// Its share where processors are short: 1 to 10000, 100 is usual (v2's cpu.weight).
    pub cpu_weight: u64,
}

/// A lab's directories in the cgroup hierarchies: one with v2, one per controller with v1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cgroup {
    directories: Vec<PathBuf>,
    /// In the hierarchies of v1 that bound nothing of a lab. It is in one of its own there all the same: whoever mounts such a
    /// hierarchy in a cgroup namespace sees from there down, and from the server's they would see everybody's names.
    #[serde(default)]
    others: Vec<PathBuf>,
}

/// What a cgroup uses, by files that were opened once.
#[derive(Debug)]
pub struct Meter {
    memory: fs::File,
    processes: fs::File,
}

impl Meter {
    /// Bytes of memory, the files of its tmpfs mounts included; 0 where it cannot be read.
    pub fn memory(&self) -> u64 {
        read_number(&self.memory)
    }

    /// Processes and threads.
    pub fn processes(&self) -> u64 {
        read_number(&self.processes)
    }
}

/// A cgroup could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No hierarchy with the controllers that bound a lab.
    #[error("no cgroup hierarchy offers the {0} controller; mount cgroups (v2, or v1 with memory, pids and cpu)")]
    NoController(&'static str),
    /// A directory or file of the hierarchy refused.
    #[error("cannot write {path} in the cgroup hierarchy: {cause}")]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// Where the lab process and the zygote are.
const LAB: &str = "lab";
/// The learner's own part.
const MACHINE: &str = "machine";
/// Where a server puts itself if it must not stay in the cgroup that those of the labs are made in.
const LEAF: &str = "newroot-server";
/// Where version 1 limits what waits in sockets.
const TCP_LIMIT: &str = "memory.kmem.tcp.limit_in_bytes";
const CPU_PERIOD_MICROSECONDS: u64 = 100_000;

impl Cgroup {
    /// Makes the cgroup `newroot/NAME` below the server's own and sets its limits.
    pub fn create(name: &str, limits: &Limits) -> Result<Cgroup, Error> {
        let hierarchies = Hierarchies::read();
        let directories = match &hierarchies.v2 {
            Some(root) if has_controllers(root) => vec![create_v2(root, name, limits)?],
            _ => create_v1(&hierarchies, name, limits)?,
        };
        let others = create_others(&hierarchies, name, &directories)?;
        for directory in &directories {
            make(&directory.join(LAB))?;
            let machine = directory.join(MACHINE);
            make(&machine)?;
            if is_version_2(directory) {
                write(&machine.join("cgroup.max.descendants"), MOST)?;
                write(&machine.join("cgroup.max.depth"), delegated::DEEPEST)?;
            }
        }
        Ok(Cgroup { directories, others })
    }

    /// Gives the learner's part to this user of the machine (cgroups(7), "Delegation": the directory, and the files that
    /// say who is in it and what it hands on, but none with a limit). Opens it for those who will have no path to it.
    pub fn delegate(&self, owner: u32) -> io::Result<Delegated> {
        let give = |path: &Path| match chown(path, Some(owner), Some(owner)) {
            // Each version has files that the other has not.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let delegate = |directory: &PathBuf| {
            // With version 2, who moves a process writes to that of the common ancestor, too; PID 1 comes from `lab`. No
            // process can be in this one, and none in the sandbox has a path to it.
            give(&directory.join("cgroup.procs"))?;
            let machine = directory.join(MACHINE);
            give(&machine)?;
            for name in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"] {
                give(&machine.join(name))?;
            }
            Ok(fs::File::open(machine)?.into())
        };
        Ok(Delegated { directories: self.directories.iter().map(delegate).collect::<io::Result<_>>()? })
    }

    /// Writes down which one it is, for [`Cgroup::recorded`]: whoever looks for it later may stand in another cgroup.
    pub fn record(&self, file: &Path) -> io::Result<()> {
        fs::write(file, serde_json::to_vec(self)?)
    }

    /// The cgroup that somebody has written down.
    pub fn recorded(file: &Path) -> io::Result<Cgroup> {
        Ok(serde_json::from_slice(&fs::read(file)?)?)
    }

    /// The cgroup `newroot/NAME` as a former server may have made it, to clean up after a lab that is gone.
    pub fn find(name: &str) -> Cgroup {
        let hierarchies = Hierarchies::read();
        let roots = hierarchies.v2.iter().chain(hierarchies.v1.iter().map(|(_, root)| root));
        let directories: BTreeSet<PathBuf> = roots.map(|root| root.join("newroot").join(name)).collect();
        let directories = directories.into_iter().filter(|directory| directory.is_dir()).collect();
        Cgroup { directories, others: Vec::new() }
    }

    /// Moves the calling process in. With v1 a process enters each controller's hierarchy on its own.
    pub fn enter(&self) -> io::Result<()> {
        // Writing 0 means the writer itself, whatever its number is in the PID namespace of the hierarchy's mount.
        let all = self.directories.iter().chain(&self.others);
        all.into_iter().try_for_each(|directory| fs::write(directory.join(LAB).join("cgroup.procs"), "0"))
    }

    /// Opens what tells of its use; the result needs neither path nor privilege any more.
    pub fn meter(&self) -> io::Result<Meter> {
        let open = |names: [&str; 2]| {
            let paths = self.directories.iter().flat_map(|directory| names.map(|name| directory.join(name)));
            let mut open = paths.map(fs::File::open);
            open.find(Result::is_ok).unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
        };
        Ok(Meter { memory: open(["memory.current", "memory.usage_in_bytes"])?, processes: open(["pids.current"; 2])? })
    }

    /// Sends SIGKILL to every process in it and below it.
    pub fn kill(&self) {
        for directory in &self.directories {
            // One write on v2 (Linux 5.14), race-free; on v1 a pass over the list, which the caller repeats.
            if fs::write(directory.join("cgroup.kill"), "1").is_err() {
                for pid in processes_below(directory).unwrap_or_default() {
                    let _already_gone = kill(pid, Signal::SIGKILL);
                }
            }
        }
    }

    /// Removes its directories. Errors with EBUSY while a process is in one.
    pub fn remove(&self) -> io::Result<()> {
        self.directories.iter().chain(&self.others).try_for_each(|directory| match remove_tree(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }
}

/// Removes the cgroup `newroot` below the server's own, which holds those of the labs; one with labs stays.
pub fn remove_parent() {
    let hierarchies = Hierarchies::read();
    for root in hierarchies.v2.iter().chain(hierarchies.v1.iter().map(|(_, root)| root)) {
        // Labs go on, or there never was one.
        let _ = fs::remove_dir(root.join("newroot"));
    }
}

fn create_v2(root: &Path, name: &str, limits: &Limits) -> Result<PathBuf, Error> {
    let parent = root.join("newroot");
    make(&parent)?;
    // A cgroup hands controllers on to its children only when it holds no process itself (v2's "no internal
    // processes"; the root of all is free of it). In a container the root holds us: we move into a leaf first.
    if enable_controllers(root).is_err() {
        let leaf = root.join(LEAF);
        make(&leaf)?;
        for pid in processes(root) {
            let _already_gone = fs::write(leaf.join("cgroup.procs"), pid.to_string());
        }
        enable_controllers(root)?;
    }
    enable_controllers(&parent)?;
    let directory = parent.join(name);
    make(&directory)?;
    enable_controllers(&directory)?;
    write(&directory.join("memory.max"), limits.memory)?;
    // A machine that swaps would let a lab have more than its memory; where there is no swap there is no such file.
    let _no_swap = fs::write(directory.join("memory.swap.max"), "0");
    write(&directory.join("memory.oom.group"), 0)?;
    write(&directory.join("pids.max"), limits.pids)?;
    let quota = limits.cpu_percent * CPU_PERIOD_MICROSECONDS / 100;
    write(&directory.join("cpu.max"), format!("{quota} {CPU_PERIOD_MICROSECONDS}"))?;
    write(&directory.join("cpu.weight"), limits.cpu_weight)?;
    Ok(directory)
}

fn enable_controllers(directory: &Path) -> Result<(), Error> {
    write(&directory.join("cgroup.subtree_control"), "+memory +pids +cpu")
}

fn create_v1(hierarchies: &Hierarchies, name: &str, limits: &Limits) -> Result<Vec<PathBuf>, Error> {
    let mut directories = BTreeSet::new();
    for controller in CONTROLLERS {
        let (_, root) = (hierarchies.v1.iter().find(|(controllers, _)| controllers.iter().any(|c| c == controller)))
            .ok_or(Error::NoController(controller))?;
        let directory = root.join("newroot").join(name);
        make(&directory)?;
        match controller {
            "memory" => {
                write(&directory.join("memory.limit_in_bytes"), limits.memory)?;
                // What waits in sockets is counted by itself there (memory.rst, "Kernel Memory"), and only where it has a limit.
                // It begins to count in each cgroup that has one, and in no other: so the learner's part and its leaf get it too.
                make(&directory.join(MACHINE))?;
                for counted in [&directory, &directory.join(MACHINE)] {
                    let _not_configured = fs::write(counted.join(TCP_LIMIT), (limits.memory / 8).to_string());
                }
            }
            "pids" => write(&directory.join("pids.max"), limits.pids)?,
            _ => {
                let quota = limits.cpu_percent * CPU_PERIOD_MICROSECONDS / 100;
                write(&directory.join("cpu.cfs_period_us"), CPU_PERIOD_MICROSECONDS)?;
                write(&directory.join("cpu.cfs_quota_us"), quota)?;
                // The same share on v1's scale, where 1024 is usual.
                write(&directory.join("cpu.shares"), (limits.cpu_weight * 1024 / 100).max(2))?;
            }
        }
        directories.insert(directory);
    }
    // A version 2 beside it has no controllers that we need. But the learner's part of it is theirs as well.
    if let Some(root) = &hierarchies.v2 {
        let directory = root.join("newroot").join(name);
        make(&directory)?;
        directories.insert(directory);
    }
    Ok(directories.into_iter().collect())
}

/// The lab's directories in the hierarchies of v1 that are not yet among `directories`.
fn create_others(hierarchies: &Hierarchies, name: &str, directories: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut others = BTreeSet::new();
    for (_, root) in &hierarchies.v1 {
        let parent = root.join("newroot");
        let directory = parent.join(name);
        if directories.contains(&directory) {
            continue;
        }
        // A cpuset that nobody has filled takes no process (cpusets.rst); its parent's values are no narrower.
        for below in [&parent, &directory, &directory.join(LAB)] {
            make(below)?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let above = below.parent().map(|above| fs::read_to_string(above.join(file)));
                if let Some(Ok(above)) = above {
                    write(&below.join(file), above.trim())?;
                }
            }
        }
        others.insert(directory);
    }
    Ok(others.into_iter().collect())
}

fn is_version_2(directory: &Path) -> bool {
    directory.join("cgroup.controllers").exists()
}

/// Where this process stands in each mounted hierarchy.
struct Hierarchies {
    v2: Option<PathBuf>,
    v1: Vec<(Vec<String>, PathBuf)>,
}

impl Hierarchies {
    fn read() -> Hierarchies {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = shared::mount::parse_table(&fs::read("/proc/self/mountinfo").unwrap_or_default());
        let mut hierarchies = Hierarchies { v2: None, v1: Vec::new() };
        for line in own.lines() {
            // `ID:CONTROLLERS:PATH`; v2 has an empty list of controllers.
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let mounted = mounts.iter().find(|mount| match controllers {
                "" => mount.fs_type == "cgroup2",
                _ => mount.fs_type == "cgroup" && controllers.split(',').all(|c| has_option(&mount.super_options, c)),
            });
            let Some(mount) = mounted else { continue };
            // The mount may show only a part of the hierarchy: its own root is what its mount point shows.
            let below = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new("")).to_owned();
            let directory = Path::new(&mount.mount_point).join(below);
            match controllers {
                "" => hierarchies.v2 = Some(above_leaf(directory)),
                _ => hierarchies.v1.push((controllers.split(',').map(str::to_owned).collect(), directory)),
            }
        }
        hierarchies
    }
}

/// A server that has moved into a leaf still makes its labs' cgroups beside that, and not below.
fn above_leaf(own: PathBuf) -> PathBuf {
    match own.parent() {
        Some(above) if own.file_name() == Some(LEAF.as_ref()) => above.to_owned(),
        _ => own,
    }
}

fn read_number(file: &fs::File) -> u64 {
    let mut text = [0; 32];
    // From the start each time: the kernel writes the file anew for whoever reads there.
    let length = file.read_at(&mut text, 0).unwrap_or(0);
    str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Whether a mount's options, as mountinfo lists them, name this one.
pub(super) fn has_option(options: &str, wanted: &str) -> bool {
    options.split(',').any(|option| option == wanted)
}

fn has_controllers(root: &Path) -> bool {
    let offered = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    CONTROLLERS.iter().all(|controller| offered.split_whitespace().any(|word| word == *controller))
}

fn processes(directory: &Path) -> Vec<Pid> {
    let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect()
}

fn processes_below(directory: &Path) -> io::Result<Vec<Pid>> {
    let top = fs::File::open(directory)?;
    let mut all = processes(directory);
    tree::each_below(&top, |below, _| {
        let list = delegated::read(below, "cgroup.procs").unwrap_or_default();
        all.extend(list.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw));
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    tree::remove_below(fs::File::open(directory)?.as_fd())?;
    fs::remove_dir(directory)
}

fn make(directory: &Path) -> Result<(), Error> {
    for _ in 0..100 {
        match fs::create_dir_all(directory) {
            // Another server has just ended, and removed the parent.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map_err(|cause| Error::Write { path: directory.to_owned(), cause }),
        }
    }
    Err(Error::Write { path: directory.to_owned(), cause: io::ErrorKind::NotFound.into() })
}

fn write(path: &Path, value: impl ToString) -> Result<(), Error> {
    fs::write(path, value.to_string()).map_err(|cause| Error::Write { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests;
