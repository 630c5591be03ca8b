//! What the processes of a lab begin with. A program inherits much from whoever started it, and a learner's root traces PID 1
//! of their sandbox: whatever that has, they have. So each thing below is set, and nothing stays as it happened to be.
//!
//! | inherited | lab process | zygote | PID 1 and the shells |
//! |---|---|---|---|
//! | session, controlling terminal | its own, none | its own, none | its own, none; each shell has its pseudoterminal |
//! | descriptors | 0 to 2, then its own | /dev/null thrice, its channel, the uid range's lock, the cgroup | /dev/null thrice, its channel |
//! | environment | none | none | none; the shells `terminal::opening::ENVIRONMENT` |
//! | signals | default actions, none blocked but SIGXFSZ | the same, none blocked | the same |
//! | umask, personality, securebits, timer slack | 022, Linux's, none, the kernel's | the same | the same |
//! | nice, I/O priority, scheduling | not above the usual | the same | the same |
//! | OOM score | not below the usual | the same | 500, and 1000 for the shells |
//! | session keyring | a new one, empty | the same | the same, and no call that reads it |
//! | limits (getrlimit(2)) | [`LIMITS`] | the same | the same; none that a learner can raise |
//! | root, current directory | the tmpfs that sandboxes are made from | the same | the sandbox's root |
//! | seccomp filter | the server's, and its own | the server's, and the sandbox's | the same |
//! | processors, memory nodes | the server's: whoever confines the server confines its labs | the same | the same |
//! | its program | as it was started | the same | a read-only mount that tells nothing of the machine's disk |

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::setsid;

use super::sandbox::{Step, StepError};
use crate::defence::{Defence, Defences};
use crate::{runtime, sys};

/// Descriptors that a process may have open. It bounds what many of them take together: a lab has as many descriptors as its
/// processes have, and each is memory of the kernel's.
const DESCRIPTORS: rlim_t = 1024;

/// The limits of a lab's processes, soft and hard alike where one number stands. Those that count for a user count for the
/// whole lab, since its user namespace takes them over (user_namespaces(7), Linux 5.14).
const LIMITS: &[(Resource, rlim_t)] = &[
    // No file of what was in a process's memory.
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_NOFILE, DESCRIPTORS),
    // Signals that wait, and so timers that will send one.
    (Resource::RLIMIT_SIGPENDING, 4096),
    // Bytes of POSIX message queues (mq_overview(7)).
    (Resource::RLIMIT_MSGQUEUE, 819_200),
    // Bytes that are kept from being swapped.
    (Resource::RLIMIT_MEMLOCK, 8 << 20),
    // Nobody goes before others.
    (Resource::RLIMIT_NICE, 0),
    (Resource::RLIMIT_RTPRIO, 0),
];

/// Makes the calling process what this file says, as the first thing that it does. It must not lead a process group.
pub fn begin(defences: &Defences) -> Result<(), StepError> {
    runtime::default_signals();
    sys::default_realtime_signals().step("take the default actions of realtime signals")?;
    new_session(defences)?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    sys::usual_personality().step("take the usual execution domain")?;
    sys::no_securebits().step("clear the securebits")?;
    sys::usual_timer_slack().step("take the usual timer slack")?;
    sys::usual_priority().step("take the usual priority")?;
    usual_oom_score().step("take the usual OOM score")?;
    sys::new_session_keyring().step("join a new session keyring")?;
    if defences.stand(Defence::Resources) {
        limit().step("limit what each process may take")?;
    }
    Ok(())
}

/// Leaves the session of whoever started this process, and with it their terminal: a descriptor of it, got from a traced
/// process's /dev/tty, would be the keyboard of whoever started the server.
pub fn new_session(defences: &Defences) -> Result<(), StepError> {
    if defences.stand(Defence::Session) {
        setsid().step("make a session")?;
    }
    Ok(())
}

fn limit() -> io::Result<()> {
    for &(resource, most) in LIMITS {
        let (_, hard) = getrlimit(resource)?;
        // To raise one would take CAP_SYS_RESOURCE, which a container has not.
        let most = most.min(hard);
        setrlimit(resource, most, most)?;
    }
    Ok(())
}

/// A server that the kernel should rather spare must not have its labs spared.
fn usual_oom_score() -> io::Result<()> {
    const SCORE: &str = "/proc/self/oom_score_adj";
    let score: i32 = fs::read_to_string(SCORE)?.trim().parse().map_err(io::Error::other)?;
    match score < 0 {
        true => fs::write(SCORE, "0"),
        false => Ok(()),
    }
}

/// What a whole lab may have at most of what the kernel counts for user namespaces (namespaces(7), inotify(7)): the files of
/// /proc/sys/user, and a number for each. A namespace of each kind is the sandbox's own; a former one may be on its way out.
const COUNTS: &[(&str, u32)] = &[
    ("max_user_namespaces", 64),
    ("max_mnt_namespaces", 256),
    ("max_pid_namespaces", 256),
    ("max_uts_namespaces", 256),
    ("max_ipc_namespaces", 128),
    // Some hundred KiB each, and only a part of that is accounted.
    ("max_net_namespaces", 48),
    ("max_cgroup_namespaces", 128),
    ("max_time_namespaces", 32),
    ("max_inotify_instances", 128),
    ("max_inotify_watches", 8192),
    ("max_fanotify_groups", 16),
    ("max_fanotify_marks", 1024),
];

/// Sets [`COUNTS`] for the user namespace of the calling process, and so for all that are made in it. A learner's root, being
/// root of one further in, cannot change them. `proc` is where a writable /proc is.
pub fn limit_counts(proc: &str, defences: &Defences) -> io::Result<()> {
    if !defences.stand(Defence::Resources) {
        return Ok(());
    }
    for (name, most) in COUNTS {
        match fs::write(format!("{proc}/sys/user/{name}"), most.to_string()) {
            // A kernel that was configured without that kind of namespace.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    Ok(())
}
