//! What can fail between `newroot run` and the command, and the exit status of each.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::super::printable::printable;
use super::PullError;

/// Why a container was not run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RunError {
    #[error(transparent)]
    Pull(Box<PullError>),
    #[error("cannot prepare TLS for pulling the image")]
    Certificates(#[source] io::Error),
    #[error("the image is there; cannot exec(2) /proc/self/exe to go on: {errno}")]
    StartOver { errno: Errno },
    #[error(
        "--root pivot without a new mount namespace would take away this machine's own root; leave --no-mount-ns out"
    )]
    PivotWithoutNamespace,
    #[error("cannot clone(2) into new namespaces: {errno}; {why}")]
    Clone { errno: Errno, why: String },
    #[error("cannot hold signals back (sigprocmask(2)): {errno}")]
    HoldSignals { errno: Errno },
    #[error("cannot make a descriptor for signals (signalfd(2)): {errno}")]
    SignalDescriptor { errno: Errno },
    #[error("cannot read(2) a signal from its descriptor: {errno}")]
    TakeSignal { errno: Errno },
    #[error("cannot waitpid(2) for the child: {errno}")]
    Wait { errno: Errno },
    #[error("cannot waitpid(2) for what has ended in the container: {errno}")]
    Bury { errno: Errno },
    #[error("`child` is what `newroot run` starts in new namespaces; use that")]
    NotStartedByParent,
    #[error("cannot tell the working directory (getcwd(2))")]
    WorkingDirectory(#[source] io::Error),
    #[error("cannot sethostname(2): {errno}; a name has at most 64 bytes")]
    Hostname { errno: Errno },
    #[error("cannot mount(2) with a propagation flag on /: {errno}; EINVAL: / is no mount, as after a chroot(2)")]
    Propagation { errno: Errno },
    #[error("cannot open(2) {path} in the image: {errno}; it must be a directory to mount on")]
    MountPoint { path: PathBuf, errno: Errno },
    #[error("cannot mount(2) {kind} on {path}: {errno}; {why}")]
    Mount { kind: &'static str, path: PathBuf, errno: Errno, why: &'static str },
    #[error("cannot symlink(2) {controller} in /sys/fs/cgroup: {errno}")]
    CgroupLink { controller: String, errno: Errno },
    #[error("cannot make /sys/fs/cgroup read-only (mount(2) with MS_REMOUNT): {errno}")]
    ReadOnlyCgroups { errno: Errno },
    #[error("cannot put the device {device} into the container: {errno}")]
    Device { device: PathBuf, errno: Errno },
    #[error("cannot symlink(2) {path}: {errno}")]
    DeviceLink { path: PathBuf, errno: Errno },
    #[error("cannot chroot(2) into {rootfs}: {errno}")]
    Chroot { rootfs: PathBuf, errno: Errno },
    #[error("cannot bind mount(2) {rootfs} on itself: {errno}")]
    BindRoot { rootfs: PathBuf, errno: Errno },
    #[error("cannot chdir(2) to {path}: {errno}")]
    ChangeDirectory { path: PathBuf, errno: Errno },
    #[error("cannot pivot_root(2) into {rootfs}: {errno}; {why}")]
    PivotRoot { rootfs: PathBuf, errno: Errno, why: String },
    #[error("cannot umount2(2) the old root: {errno}")]
    UnmountOldRoot { errno: Errno },
    #[error("cannot read the image's configuration {path}")]
    ReadConfig { path: PathBuf, source: io::Error },
    #[error("the image's configuration {path} is not what an image has; remove it, and pull the image again")]
    BadConfig { path: PathBuf, source: serde_json::Error },
    #[error(
        "the image wants to run as `{user}`, and its /etc/passwd or /etc/group does not know that name; {known}",
        user = printable(.user), known = printable(.known)
    )]
    UnknownUser { user: String, known: String },
    #[error("cannot setgroups(2): {errno}; a user namespace without a range of ids does not allow it")]
    SetGroups { errno: Errno },
    #[error("cannot setresgid(2) to {gid}: {errno}; EINVAL: this user namespace has no such id")]
    SetGroup { gid: u32, errno: Errno },
    #[error("cannot setresuid(2) to {uid}: {errno}; EINVAL: this user namespace has no such id")]
    SetUser { uid: u32, errno: Errno },
    #[error(
        "cannot chdir(2) to {path}, where {image} wants its command to start: {errno}; make that directory in its rootfs"
    )]
    ImageDirectory { image: String, path: PathBuf, errno: Errno },
    #[error("{image} names no program to run; name one after the image")]
    NoCommand { image: String },
    #[error("exec {program} in {image}: no such file; {hint}", program = printable(.program), hint = printable(.hint))]
    NoSuchProgram { program: String, image: String, hint: String },
    #[error(
        "exec {program} in {image}: the file is there, but not {interpreter}, which it has to be run by; {hint}",
        program = printable(.program), interpreter = printable(.interpreter), hint = printable(.hint)
    )]
    NoInterpreter { program: String, image: String, interpreter: String, hint: String },
    #[error(
        "exec {program} in {image}: it is built for {machine}, and this machine is {here}; pull an image for this one",
        here = std::env::consts::ARCH, program = printable(.program), machine = printable(.machine)
    )]
    ForeignArchitecture { program: String, image: String, machine: String },
    #[error(
        "exec {program} in {image}: ENOEXEC: it is neither machine code nor a script that names its interpreter; begin it \
         with a line like #!/bin/sh, or run /bin/sh {program}",
        program = printable(.program)
    )]
    NoFormat { program: String, image: String },
    #[error("exec {program} in {image}: EACCES: it is a directory", program = printable(.program))]
    IsDirectory { program: String, image: String },
    #[error(
        "exec {program} in {image}: EACCES: it may not be executed by anybody (mode {mode:03o}); chmod +x allows it",
        program = printable(.program)
    )]
    NotExecutable { program: String, image: String, mode: u32 },
    #[error("exec {program} in {image}: {errno}; see execve(2)", program = printable(.program))]
    Exec { program: String, image: String, errno: Errno },
}

impl RunError {
    /// The exit status that tells this error from the program's own, as shells and Docker have it: 127 no such program,
    /// 126 a program that cannot be executed, 125 anything before that, and 128 + n a pull that
    /// signal n has ended.
    pub fn exit_status(&self) -> u8 {
        match self {
            RunError::NoSuchProgram { .. } | RunError::NoInterpreter { .. } => 127,
            RunError::ForeignArchitecture { .. }
            | RunError::NoFormat { .. }
            | RunError::IsDirectory { .. }
            | RunError::NotExecutable { .. }
            | RunError::Exec { .. } => 126,
            RunError::Pull(error) => match **error {
                PullError::Interrupted { signal } => 128 + signal as u8,
                _ => 125,
            },
            _ => 125,
        }
    }
}
