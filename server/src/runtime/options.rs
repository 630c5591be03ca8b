//! What `pull`, `run` and `child` can be asked for: their flags, as types. The command line is read into these.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;

use super::image::Image;
use super::platform::Platform;
use super::registry::Registry;

/// What `newroot pull` was asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct PullOptions {
    /// Where names without a host are looked up, instead of Docker Hub
    #[arg(long, value_name = "URL", env = "NEWROOT_REGISTRY")]
    pub registry: Option<Registry>,
    /// Where names with a host are looked up, as HOST/NAME, instead of at that host
    #[arg(long, value_name = "URL", env = "NEWROOT_MIRROR")]
    pub mirror: Option<Registry>,
    /// Talk http, without encryption, to a registry on another machine too
    #[arg(long)]
    pub insecure: bool,
    /// The directory below which images are unpacked
    #[arg(long, value_name = "DIR", default_value = "/fs")]
    pub fs: PathBuf,
    /// Let all users of this machine into the image's directory, and so execute its set-user-ID programs
    #[arg(long, env = "NEWROOT_OPEN", value_parser = FalseyValueParser::new())]
    pub open: bool,
    /// The kind of machine the image is for, instead of this one
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
    /// The image: alpine, alpine:3.20, registry.example/team/app:1
    pub image: Image,
}

/// What follows the flags in the long help of `newroot run`.
const AFTER_HELP: &str = "\
Exit status:
  The command's own, or 128 + N where signal N ended it. Where it did not run:
    125  newroot could not set the container up
    126  the command is there, but cannot be executed
    127  the command, or what has to run it, is not in the image

Signals:
  HUP, INT, QUIT, TERM, USR1 and USR2 are handed on to the container. Its
  process 1 gets only those it has a handler for; for any other it is killed.
  --init makes the command process 2, which they end as anywhere else.

Examples:
  newroot run alpine                          what the image itself would run
  newroot run --mount proc alpine ps          ps reads /proc
  newroot run --mount default debian bash     all that Docker mounts
  echo hello | newroot run busybox cat        pipes stay pipes
  newroot run --no-mount-ns busybox mount -t tmpfs leaked /mnt";

/// What `newroot run` was asked for. Its child reads the very same flags again.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct RunOptions {
    /// Leave CLONE_NEWNS out, and watch the mounts leak
    #[arg(long, conflicts_with = "propagation")]
    pub no_mount_ns: bool,
    /// How the container gets its root directory
    #[arg(long, value_enum, default_value_t)]
    pub root: RootMethod,
    /// What is mounted in the container beforehand
    #[arg(long, value_enum, default_value_t)]
    pub mount: MountSet,
    /// Whether mounts travel between this machine and the container
    #[arg(long, value_enum, default_value_t)]
    pub propagation: Propagation,
    /// Make a small init process 1 of the container, and the command its child
    #[arg(long)]
    pub init: bool,
    /// The container's host name
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<OsString>,
    /// The image, and where it is pulled from if it is not there yet.
    #[command(flatten)]
    pub pull: PullOptions,
    /// The program to run, and its arguments [default: what the image says]
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

impl RunOptions {
    /// The directory that becomes `/` in the container.
    pub fn rootfs(&self) -> PathBuf {
        self.pull.image.rootfs(&self.pull.fs)
    }
}

/// How the container gets its root directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum RootMethod {
    /// chroot(2): a path looked up by this process starts elsewhere; the machine's root stays mounted
    #[default]
    Chroot,
    /// pivot_root(2): the mount namespace itself gets another root, and the machine's is unmounted
    Pivot,
}

/// What is mounted in the container before the command starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MountSet {
    /// Nothing: then `ps` fails
    #[default]
    None,
    /// A proc file system on /proc
    Proc,
    /// What Docker mounts in every container: /proc, /dev with its devices, /dev/pts, /dev/shm, /dev/mqueue, /sys,
    /// /sys/fs/cgroup
    Default,
}

/// What becomes of the propagation of every mount in the new mount namespace (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Propagation {
    /// Mounts travel neither way
    #[default]
    Private,
    /// This machine's mounts appear in the container, not the other way round
    Slave,
    /// Mounts travel both ways
    Shared,
    /// As this machine has it
    Unchanged,
}
