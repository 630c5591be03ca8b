//! The facts of a machine, for the checks of lessons: what was seen of it on the lab's own thread ([`Seen`]), and what is then
//! read on the judge's ([`gather`]). All of it is the learner's to choose, so all of it is bounded: of a machine with more
//! than the bounds allow there are no facts, and nothing is judged until it has less.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nix::unistd::Pid;
use shared::mount::Mount;
use shared::reach::hidden;

use super::cgroup::Delegated;
use super::views::LiveView;
use crate::checks::Facts;
use crate::checks::facts::{self, MOST_PROCESSES, MOST_ROWS, bounded};

mod files;
mod images;
mod process;
mod root;

pub use files::Digests;
pub use process::uts_namespace;
use root::Root;

/// What only the lab's own thread can see of a machine.
pub struct Seen {
    /// Its PID 1, as numbered outside.
    pub init: Pid,
    /// Its processes, as numbered outside.
    pub processes: Vec<Pid>,
    /// Its views, without their processes.
    pub views: Vec<(facts::View, Vec<Pid>)>,
    /// The terminals' sessions, as numbered outside, and their names.
    pub terminals: HashMap<Pid, String>,
    /// The host names in UTS namespaces, by inode.
    pub hostnames: HashMap<u64, String>,
    /// The paths that lessons ask about.
    pub paths: Vec<String>,
    /// The learner's cgroup.
    pub cgroup: Arc<Delegated>,
}

/// There is more of something than is looked at.
#[derive(Debug)]
pub struct TooMuch;

/// A view as expressions see it, but for its processes. `rows` are how many more there may be.
pub fn view(live: &LiveView, rows: &mut usize) -> Result<facts::View, TooMuch> {
    *rows = rows.checked_sub(live.rows.len()).ok_or(TooMuch)?;
    if live.view.cut {
        return Err(TooMuch);
    }
    let hidden = hidden(&live.rows, live.view.root_mount);
    let rows = live.rows.iter().map(|mount| row(mount, hidden.contains_key(&mount.id)));
    Ok(facts::View {
        id: live.view.id.0.into(),
        namespace: live.view.mount_namespace as i64,
        ordinal: live.view.ordinal.into(),
        host: false,
        root: bounded(live.view.root.clone()),
        root_deleted: live.view.root_deleted,
        processes: Vec::new(),
        rows: rows.collect(),
    })
}

/// How many rows all views may have together.
pub const ROWS: usize = MOST_ROWS;

fn row(mount: &Mount, hidden: bool) -> facts::Row {
    let propagation = mount.propagation;
    // More of them is nothing that mount(8) would have written.
    let list = |options: &str| options.split(',').take(64).map(|option| bounded(option.to_owned())).collect();
    let kind = match (propagation.shared, propagation.master) {
        _ if propagation.unbindable => "unbindable",
        (Some(_), Some(_)) => "shared slave",
        (Some(_), None) => "shared",
        (None, Some(_)) => "slave",
        (None, None) => "private",
    };
    facts::Row {
        id: mount.id.0.into(),
        parent: mount.parent.0.into(),
        point: bounded(mount.mount_point.clone()),
        kind: bounded(mount.fs_type.clone()),
        source: bounded(mount.source.clone()),
        root: bounded(mount.root.clone()),
        device: mount.device.clone(),
        options: list(&mount.options),
        super_options: list(&mount.super_options),
        propagation: kind.to_owned(),
        shared: propagation.shared.map_or(0, |group| group.0.into()),
        master: propagation.master.map_or(0, |group| group.0.into()),
        hidden,
    }
}

/// Reads the rest, from `/proc` and from the machine's files. For a thread that may wait for a disk.
pub fn gather(seen: Seen, digests: &mut Digests) -> Result<Facts, TooMuch> {
    if seen.processes.len() > MOST_PROCESSES {
        return Err(TooMuch);
    }
    // Who has just ended, or not quite begun, is nobody.
    let mut processes: BTreeMap<Pid, facts::Process> =
        seen.processes.iter().filter_map(|&pid| Some((pid, process::read(pid, &seen).ok()?))).collect();
    let inside: HashMap<i64, i64> = processes.iter().map(|(pid, process)| (pid.as_raw().into(), process.pid)).collect();
    for process in processes.values_mut() {
        process.parent = inside.get(&process.parent).copied().unwrap_or_default();
    }
    let machine = processes.get(&seen.init).map(|init| init.namespaces).unwrap_or_default();
    let mut views: Vec<facts::View> = seen
        .views
        .into_iter()
        .map(|(view, members)| {
            let members = members.iter().filter_map(|pid| inside.get(&pid.as_raw().into()).copied());
            facts::View { host: view.namespace == machine.mnt, processes: members.collect(), ..view }
        })
        .collect();
    // The machine's first; the others as they have appeared.
    views.sort_by_key(|view| (!view.processes.contains(&1), view.id));
    let root = Root::of(seen.init);
    let mut cgroups = seen.cgroup.groups();
    for group in &mut cgroups {
        for &pid in &group.processes {
            if let Some(process) = processes.get_mut(&Pid::from_raw(pid as i32)) {
                process.cgroup.clone_from(&group.path);
            }
        }
        group.processes = group.processes.iter().filter_map(|pid| inside.get(pid).copied()).collect();
    }
    Ok(Facts {
        machine: views.first().cloned().unwrap_or_default(),
        views,
        processes: processes.into_values().collect(),
        namespaces: machine,
        files: files::look(root.as_ref(), &seen.paths, digests),
        images: images::look(root.as_ref())?,
        trace: Vec::new(),
        cgroups,
    })
}
