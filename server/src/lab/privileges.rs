//! What the lab process gives up before anything of the learner runs: every privilege on the host. Its power over the
//! sandbox remains, because its user owns the sandbox's user namespace (user_namespaces(7)).

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::sandbox::{Step, StepError};
use super::seccomp;
use crate::defence::{Defence, Defences};
use crate::sys;

/// Bytes that its log may have.
const LARGEST_FILE: u64 = 1 << 20;

/// From root to `user`, for good: no uid 0, no capability, none to be gained by exec, and few system calls.
pub fn drop_all(user: Uid, defences: &Defences) -> Result<(), StepError> {
    let group = Gid::from_raw(user.as_raw());
    // First what needs capabilities to be dropped, then the capabilities themselves.
    // What it writes is its log, on the machine's disk, and a learner can give it much to complain about: a write beyond
    // this fails, and the signal that comes with it is not let in.
    setrlimit(Resource::RLIMIT_FSIZE, LARGEST_FILE, LARGEST_FILE).step("limit the size of the log")?;
    let mut too_large = SigSet::empty();
    too_large.add(Signal::SIGXFSZ);
    too_large.thread_block().step("block SIGXFSZ")?;
    sys::drop_bounding_set().step("empty the capability bounding set")?;
    setgroups(&[]).step("leave all supplementary groups")?;
    setresgid(group, group, group).step("become the lab's group")?;
    setresuid(user, user, user).step("become the lab's user")?;
    sys::drop_capabilities().step("drop all capabilities")?;
    // Nothing that is executed from here on gains a privilege: no set-uid bit, no file capability.
    nix::sys::prctl::set_no_new_privs().step("set no_new_privs")?;
    if defences.stand(Defence::LabFilter) {
        sys::install_silent_filter(&seccomp::own_program()).step("install the lab's own filter")?;
    }
    Ok(())
}
