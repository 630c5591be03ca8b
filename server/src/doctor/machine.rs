//! What the machine around the kernel has: privilege, memory, disk, cgroups, directories, a port, a registry.

use std::fs;
use std::io::{IsTerminal, stdout};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access, geteuid, getpid};

use super::{Finding, Plan, Verdict};
use crate::lab::cgroup::{Cgroup, Limits};
use crate::lab::keeper::CAPABILITIES;
use crate::lab::uid_range::UidRange;
use crate::runtime::{Registry, has_capability, trees_of_version_1};

/// The oldest kernel that will do.
const OLDEST: (u32, u32) = (5, 19);

/// How long a registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn root() -> Finding {
    if !geteuid().is_root() {
        let found = format!("this is user {}, and only root may make namespaces, mounts and cgroups", geteuid());
        return Finding::lacking("root", found, "start it with sudo");
    }
    let missing = CAPABILITIES.iter().filter(|(_, number)| !has_capability(*number));
    let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Finding::good("root", "with all capabilities that labs are made with");
    }
    let flags: Vec<String> = missing.iter().map(|name| format!("--cap-add {name}")).collect();
    Finding::lacking("root", format!("without {}", missing.join(", ")), format!("in a container: {}", flags.join(" ")))
}

/// Each lab takes a range of user ids, by a lock on a file.
pub fn user_ids() -> Finding {
    match UidRange::take() {
        Ok(_) => Finding::good("user ids", "a range for a lab is free"),
        Err(error) => {
            Finding::lacking("user ids", error.to_string(), "make /run writable for root, and for nobody else")
        }
    }
}

pub fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Finding::good("kernel", format!("Linux {release}")),
        _ => Finding::lacking(
            "kernel",
            format!("Linux {release}"),
            format!("use Linux {}.{} or newer", OLDEST.0, OLDEST.1),
        ),
    }
}

/// Makes a cgroup with these limits, as each lab gets one, and removes it.
pub fn cgroups(limits: &Limits) -> Finding {
    let made = Cgroup::create(&format!("doctor-{}", getpid()), limits);
    let removed = made.as_ref().map(|cgroup| cgroup.remove());
    match (made.as_ref().err(), removed) {
        (None, Ok(Ok(()))) => {
            Finding::good("cgroups", format!("limits of memory, processes and processor time hold ({})", version()))
        }
        (None, Ok(Err(error))) => Finding::lacking("cgroups", format!("one cannot be removed: {error}"), MEND_CGROUPS),
        (Some(error), _) | (None, Err(error)) => Finding::lacking("cgroups", error.to_string(), MEND_CGROUPS),
    }
}

const MEND_CGROUPS: &str = "have the controllers memory, pids and cpu mounted below /sys/fs/cgroup, writable: in a \
    container, mount -o remount,rw /sys/fs/cgroup; with systemd, Delegate=yes";

/// Which version this process's controllers are in.
fn version() -> &'static str {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if trees_of_version_1(&own).is_empty() { "version 2" } else { "version 1" }
}

pub fn memory(plan: &Plan) -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok());
    let available = available.unwrap_or_default() << 10;
    let full = available / plan.limits.memory.max(1);
    let found =
        format!("{} available: {full} labs that use all they may, and {} are allowed", size(available), plan.labs);
    match full {
        0 => Finding::lacking("memory", found, "free some, or allow a lab less by --lab-memory"),
        full if full < plan.labs as u64 => {
            Finding::note("memory", found, "most labs use a tenth of it; or set --labs or --lab-memory lower")
        }
        _ => Finding::good("memory", found),
    }
}

pub fn disk(state: &Path) -> Finding {
    // The lab image fits into the one, and what the mirror keeps of a few images into the other.
    const LEAST: u64 = 64 << 20;
    const ENOUGH: u64 = 2 << 30;
    let free = match statvfs(existing(state)) {
        Ok(space) => space.blocks_available() * space.fragment_size(),
        Err(errno) => return Finding::lacking("disk", format!("{}: {errno}", state.display()), "name another --state"),
    };
    let found = format!("{} free for {}", size(free), state.display());
    match free {
        ..LEAST => Finding::lacking("disk", found, "free some, or name another --state"),
        LEAST..ENOUGH => Finding::note("disk", found, "the mirror keeps images there: a few GB do it good"),
        _ => Finding::good("disk", found),
    }
}

/// Whether a directory can be written, or made.
pub fn directory(flag: &'static str, path: &Path) -> Finding {
    let what = if flag == "state" { "state directory" } else { "run directory" };
    match access(existing(path), AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Finding::good(what, format!("{} is writable", path.display())),
        Err(errno) => {
            let mend = format!("make it writable for root, or name another one by --{flag}");
            Finding::lacking(what, format!("{}: {errno}", path.display()), mend)
        }
    }
}

pub fn port(listen: SocketAddr) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::good("port", format!("{listen} is free")),
        Err(error) => {
            let mend = "end what listens there (`ss -ltnp` says what), or name another by --listen";
            Finding::lacking("port", format!("cannot listen on {listen}: {error}"), mend)
        }
    }
}

/// Where `newroot pull` puts images on this machine itself. Labs have their own.
pub fn images() -> Finding {
    let Finding { verdict, found, .. } = directory("fs", Path::new("/fs"));
    match verdict {
        Verdict::Good => Finding::good("images", found),
        _ => {
            Finding::note("images", found, "`newroot pull` and `newroot run` want it writable, or another one by --fs")
        }
    }
}

pub fn terminal() -> Finding {
    if stdout().is_terminal() {
        return Finding::good("terminal", "`newroot run` here gives its command this terminal");
    }
    Finding::note("terminal", "this is none", "shells that `newroot run` starts here have no prompt and no keys")
}

/// Whether anybody listens where the registry should be. It is asked nothing.
pub fn registry(registry: &Registry) -> Finding {
    let host = registry.host().to_owned();
    let port = if registry.is_encrypted() { 443 } else { 80 };
    let address = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.clone()
    } else {
        format!("{host}:{port}")
    };
    let (tell, told) = channel();
    // Names are looked up without a limit of time, so a thread does it that may be left behind.
    std::thread::spawn(move || {
        let connect = |address: SocketAddr| TcpStream::connect_timeout(&address, PATIENCE).map(drop);
        let found = address.to_socket_addrs().and_then(|mut all| all.next().ok_or(std::io::ErrorKind::NotFound.into()));
        // Nobody listens any more if it took too long.
        let _ = tell.send(found.and_then(connect));
    });
    let found = match told.recv_timeout(2 * PATIENCE) {
        Ok(Ok(())) => return Finding::good("registry", format!("{host} can be reached")),
        Ok(Err(error)) => format!("{host} cannot be reached: {error}"),
        Err(_) => format!("{host} cannot be reached: no answer"),
    };
    Finding::note("registry", found, "busybox is in this program, and is there without; others: --upstream URL")
}

/// The directory itself, or the nearest one above it that exists.
pub fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."))
}

/// A size for people: `23.5 GB`.
fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes @ 1e9.. => format!("{:.1} GB", bytes / 1e9),
        bytes => format!("{:.0} MB", bytes / 1e6),
    }
}
