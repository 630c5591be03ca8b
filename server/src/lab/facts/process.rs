//! One process as expressions see it.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, getsid};

use super::Seen;
use crate::checks::facts::{Namespaces, Process, bounded};
use crate::lab::proc;

/// As much of a command line is read, and so many arguments of it are told.
const MOST_ARGUMENTS: (u64, usize) = (4096, 32);

/// The capabilities in the order of their numbers (linux/capability.h, Linux 5.9).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Reads a process, numbered from outside. Its parent is still a number from outside.
pub fn read(pid: Pid, seen: &Seen) -> io::Result<Process> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read(directory.join("status"))?;
    let status = String::from_utf8_lossy(&status);
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    // One number per nested PID namespace, outermost first; the second is the machine's.
    let inside = field("NSpid:").and_then(|numbers| numbers.split_whitespace().nth(1)).and_then(|n| n.parse().ok());
    let effective = field("CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or_default();
    let has = |&(number, _): &(usize, &&str)| effective & (1 << number) != 0;
    let session = getsid(Some(pid)).ok();
    let (root, cwd) = (place(&directory, "root"), place(&directory, "cwd"));
    Ok(Process {
        pid: inside.ok_or(io::ErrorKind::NotFound)?,
        parent: field("PPid:").and_then(|pid| pid.parse().ok()).unwrap_or_default(),
        program: proc::program_of(pid)?,
        arguments: arguments(&directory),
        terminal: session.and_then(|session| seen.terminals.get(&session).cloned()).unwrap_or_default(),
        namespaces: namespaces(&directory),
        outside: !cwd.is_empty() && !Path::new(&cwd).starts_with(&root),
        root,
        cwd,
        capabilities: CAPABILITIES.iter().enumerate().filter(has).map(|(_, name)| (*name).to_owned()).collect(),
        hostname: uts_namespace(pid).and_then(|inode| seen.hostnames.get(&inode).cloned()).unwrap_or_default(),
        cgroup: String::new(),
    })
}

/// The inode of a process's UTS namespace.
pub fn uts_namespace(pid: Pid) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/uts")).ok().map(|namespace| namespace.ino())
}

/// A directory of the process, seen from its mount namespace's own root; empty where there is none.
fn place(directory: &Path, link: &str) -> String {
    fs::read_link(directory.join(link)).map_or(String::new(), |path| bounded(path.to_string_lossy().into_owned()))
}

fn namespaces(directory: &Path) -> Namespaces {
    let inode =
        |name: &str| fs::metadata(directory.join("ns").join(name)).map_or(0, |namespace| namespace.ino() as i64);
    Namespaces {
        mnt: inode("mnt"),
        pid: inode("pid"),
        uts: inode("uts"),
        ipc: inode("ipc"),
        net: inode("net"),
        user: inode("user"),
        cgroup: inode("cgroup"),
    }
}

fn arguments(directory: &Path) -> Vec<String> {
    let mut line = Vec::new();
    let (bytes, most) = MOST_ARGUMENTS;
    let read = fs::File::open(directory.join("cmdline")).and_then(|file| file.take(bytes).read_to_end(&mut line));
    if read.is_err() || line.is_empty() {
        return Vec::new();
    }
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    line.split(|&byte| byte == 0).take(most).map(|word| bounded(String::from_utf8_lossy(word).into_owned())).collect()
}
