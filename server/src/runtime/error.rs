//! What can fail, a variant for each call, so that a message names the step that failed.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::credentials::CredentialsError;

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PullError {
    #[error("`{image}` is not a reference to an image: {reason}")]
    Reference { image: String, reason: String },
    #[error("{registry} would be spoken to without encryption over the network; use https, or accept it by --insecure")]
    Unencrypted { registry: String },
    #[error("cannot start the HTTP client")]
    Client(#[source] Box<dyn Error + Send + Sync>),
    #[error("cannot start the runtime for network input and output")]
    Tokio(#[source] io::Error),
    #[error("{registry} has no image {image}; check the name and the tag")]
    NotFound { image: String, registry: String },
    #[error(
        "{registry} wants a login for {image}: it is private, or does not exist; `docker login {registry}` makes one"
    )]
    Unauthorized { image: String, registry: String },
    #[error(
        "{registry} refuses {image} to {user}; check the password that `docker login` has kept, and whether {user} may pull it"
    )]
    Refused { image: String, registry: String, user: String },
    #[error("cannot find out the password for {registry}")]
    Credentials { registry: String, source: CredentialsError },
    #[error("{registry} has had too many pulls from here: {message}; wait, or name a mirror by --registry")]
    TooManyPulls { registry: String, message: String },
    #[error("cannot reach {registry}: {reason}; check the address, and that this machine may connect to it")]
    Unreachable { registry: String, reason: String },
    #[error("the connection to {registry} was cut again and again: {reason}")]
    Cut { registry: String, reason: String },
    #[error("{registry} is in trouble: {message}; try again later")]
    Trouble { registry: String, message: String },
    #[error("{registry} answered with an error: {message}")]
    Registry { registry: String, message: String },
    #[error("{image} is not made for {wanted}; there is {offered}; choose one of them by --platform")]
    Platform { image: String, wanted: String, offered: String },
    #[error(
        "layer {digest} is of the type {media_type}; only tar archives, plain, in gzip or in zstd, can be unpacked"
    )]
    LayerType { digest: String, media_type: String },
    #[error("layer {digest} does not have the {expected} bytes that the manifest says; nothing of it was unpacked")]
    LayerSize { digest: String, expected: u64 },
    #[error("what came as layer {digest} has the digest {actual}; nothing of it was unpacked")]
    LayerDigest { digest: String, actual: String },
    #[error("downloading layer {digest} failed; nothing of it was unpacked")]
    Download { digest: String, source: io::Error },
    #[error("the image's configuration would be {size} bytes; none is that big")]
    ConfigSize { size: i64 },
    #[error("cannot write the image's configuration to {path}")]
    WriteConfig { path: PathBuf, source: io::Error },
    #[error("cannot write the layer to {path}")]
    WriteLayer { path: PathBuf, source: io::Error },
    #[error("cannot make the directory {path}; pull as root, or below another directory with --fs")]
    MakeDirectory { path: PathBuf, source: io::Error },
    #[error("cannot lock {path}: {errno}; is {image} just being pulled by somebody else?")]
    Lock { image: String, path: PathBuf, errno: Errno },
    #[error("cannot remove {path}, which an earlier pull has left")]
    RemoveLeftover { path: PathBuf, source: io::Error },
    #[error("cannot rename(2) {from} to {to}")]
    Rename { from: PathBuf, to: PathBuf, source: io::Error },
    #[error("cannot write down the digest in {path}")]
    Record { path: PathBuf, source: io::Error },
    #[error("cannot unpack layer {digest}")]
    Unpack { digest: String, source: UnpackError },
}

/// Why a layer was not unpacked. Paths are those in the image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum UnpackError {
    #[error("cannot open(2) the directory to unpack into: {0}")]
    OpenRootfs(Errno),
    #[error("cannot read the archive")]
    ReadLayer(#[source] io::Error),
    #[error("the image has too many files")]
    TooManyEntries,
    #[error("the image is too big once unpacked")]
    TooManyBytes,
    #[error("{path} would lie outside the image; that is an attack or a broken image")]
    OutsideRootfs { path: PathBuf },
    #[error("{path} has a header without owner or mode")]
    BadHeader { path: PathBuf },
    #[error("{path} is of the unknown type {kind:#x}")]
    UnknownEntry { path: PathBuf, kind: u8 },
    #[error("cannot mkdir(2) for {path}: {errno}")]
    MakeDirectory { path: PathBuf, errno: Errno },
    #[error("cannot unlink(2) what was at {path}: {errno}")]
    Remove { path: PathBuf, errno: Errno },
    #[error("cannot open(2) the new file {path}: {errno}")]
    CreateFile { path: PathBuf, errno: Errno },
    #[error("cannot write {path}")]
    WriteFile { path: PathBuf, source: io::Error },
    #[error("cannot symlink(2) {path}: {errno}")]
    SymbolicLink { path: PathBuf, errno: Errno },
    #[error("cannot link(2) {path} to {target}: {errno}")]
    HardLink { path: PathBuf, target: PathBuf, errno: Errno },
    #[error("cannot mknod(2) {path}: {errno}")]
    MakeNode { path: PathBuf, errno: Errno },
    #[error(
        "cannot chown(2) {path} to {uid}:{gid}: {errno}; giving files away takes root, with that id in its user namespace"
    )]
    SetOwner { path: PathBuf, uid: u32, gid: u32, errno: Errno },
    #[error("cannot chmod(2) {path}: {errno}")]
    SetMode { path: PathBuf, errno: Errno },
    #[error("cannot lsetxattr(2) {attribute} of {path}: {errno}")]
    SetExtendedAttribute { path: PathBuf, attribute: String, errno: Errno },
    #[error("cannot set the time of {path} (utimensat(2)): {errno}")]
    SetTime { path: PathBuf, errno: Errno },
}

/// Why a container was not run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RunError {
    #[error(transparent)]
    Pull(Box<PullError>),
    #[error("{image} is not below {fs} yet, and could not be pulled ({others})")]
    NotPulled { image: String, fs: PathBuf, others: String, source: Box<PullError> },
    #[error("cannot prepare TLS for pulling the image")]
    Certificates(#[source] io::Error),
    #[error("the image is there; cannot exec(2) /proc/self/exe to go on: {errno}")]
    StartOver { errno: Errno },
    #[error(
        "--root pivot without a new mount namespace would take away this machine's own root; leave --no-mount-ns out"
    )]
    PivotWithoutNamespace,
    #[error("cannot clone(2) into new namespaces: {errno}; making them takes root (CAP_SYS_ADMIN)")]
    Clone { errno: Errno },
    #[error("cannot waitpid(2) for the child: {errno}")]
    Wait { errno: Errno },
    #[error("`child` is what `newroot run` starts in new namespaces; use that")]
    NotStartedByParent,
    #[error("cannot tell the working directory (getcwd(2))")]
    WorkingDirectory(#[source] io::Error),
    #[error("cannot sethostname(2): {errno}")]
    Hostname { errno: Errno },
    #[error("cannot mount(2) with a propagation flag on /: {errno}; EINVAL: / is no mount, as after a chroot(2)")]
    Propagation { errno: Errno },
    #[error("cannot open(2) {path} in the image: {errno}; it must be a directory to mount on")]
    MountPoint { path: PathBuf, errno: Errno },
    #[error("cannot mount(2) {kind} on {path}: {errno}")]
    Mount { kind: &'static str, path: PathBuf, errno: Errno },
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
    #[error("cannot pivot_root(2) into {rootfs}: {errno}; EINVAL: the new root is no mount, or mounts are shared")]
    PivotRoot { rootfs: PathBuf, errno: Errno },
    #[error("cannot umount2(2) the old root: {errno}")]
    UnmountOldRoot { errno: Errno },
    #[error("cannot read the image's configuration {path}")]
    ReadConfig { path: PathBuf, source: io::Error },
    #[error("the image's configuration {path} is not what an image has; remove it, and pull the image again")]
    BadConfig { path: PathBuf, source: serde_json::Error },
    #[error("the image wants to run as `{user}`, and its /etc/passwd or /etc/group does not know that name")]
    UnknownUser { user: String },
    #[error("cannot setgroups(2): {errno}; a user namespace without a range of ids does not allow it")]
    SetGroups { errno: Errno },
    #[error("cannot setresgid(2) to {gid}: {errno}; EINVAL: this user namespace has no such id")]
    SetGroup { gid: u32, errno: Errno },
    #[error("cannot setresuid(2) to {uid}: {errno}; EINVAL: this user namespace has no such id")]
    SetUser { uid: u32, errno: Errno },
    #[error("{image} names no program to run; name one after the image")]
    NoCommand { image: String },
    #[error("exec {program} in {image}: no such file; {hint}")]
    NoSuchProgram { program: String, image: String, hint: String },
    #[error(
        "exec {program} in {image}: the file is there, but the interpreter or loader it names is not in this image"
    )]
    NoInterpreter { program: String, image: String },
    #[error("exec {program} in {image}")]
    Exec { program: String, image: String, source: io::Error },
}

impl RunError {
    /// The exit status that tells this error from the program's own, as shells and Docker have it: 127 no such program,
    /// 126 a program that cannot be executed, 125 anything before that.
    pub fn exit_status(&self) -> u8 {
        match self {
            RunError::NoSuchProgram { .. } | RunError::NoInterpreter { .. } => 127,
            RunError::Exec { .. } => 126,
            _ => 125,
        }
    }
}
