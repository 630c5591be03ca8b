//! The taught code: a small container runtime, written to be read from top to bottom. It imports nothing else of
//! Newroot, so that what is taught is all there is.
//!
//! Read it in the order of what happens:
//!
//! 1. [`options`]: what can be asked for; [`image`]: what an image is called, and where its rootfs lives;
//!    [`platform`]: which machines it is for.
//! 2. [`pull`]: asks a registry for an image and fetches its layers. Its helpers are the way to the registry, the choice
//!    of a manifest, the download of a layer, and the place on disk; [`registry`] is a registry's address, and
//!    [`progress`] what is shown meanwhile.
//! 3. [`unpack`]: lays the layers over each other, which gives the rootfs. Its helpers read archives and make what is in
//!    them; [`rootfs`] makes sure that nothing leaves the directory.
//! 4. [`parent`]: starts a child, which is this same program again, in new namespaces. [`attend`] waits for its end and
//!    hands [`signals`] on until then; [`terminal`] takes the terminal back.
//! 5. [`child`]: sets the container up from the inside, and becomes the command.
//! 6. [`mounts`], [`cgroups`], [`devices`] and [`root`]: what the child does to its mounts, to /dev and to its root
//!    directory.
//! 7. [`config`] and [`user`]: what the image says about its command, and as whom it runs; [`init`]: process 1, if the
//!    command shall not be it.
//!
//! [`error`] has a variant for each call that can fail. What the kernel's one word means is found out by [`privilege`],
//! [`mount_table`] and [`program`]; [`nearest`] finds a mistyped name's neighbour. [`process`] has the only
//! `unsafe` code, [`printable`] keeps strangers' text from commanding the terminal, [`certificates`] mends a machine that has none, and [`credentials`] finds passwords; they teach nothing
//! about containers.

mod attend;
mod certificates;
mod cgroups;
mod child;
mod config;
mod credentials;
mod devices;
mod error;
mod image;
mod init;
mod mount_table;
mod mounts;
mod nearest;
mod options;
mod parent;
mod platform;
mod printable;
mod privilege;
mod process;
mod program;
mod progress;
mod pull;
mod registry;
mod root;
mod rootfs;
mod signals;
mod terminal;
mod unpack;
mod user;

pub use certificates::ensure_certificates;
pub use cgroups::trees_of_version_1;
pub use child::run as run_child;
pub use credentials::{Credentials, CredentialsError, find as find_credentials};
pub use error::{PullError, RunError, UnpackError};
pub use image::{Image, InvalidImage};
pub use mount_table::{explain as explain_pivot, why_not_mount};
pub use options::{MountSet, Propagation, PullOptions, RootMethod, RunOptions};
pub use parent::run;
pub use platform::{InvalidPlatform, Platform};
pub use printable::{printable, printable_lines};
pub use privilege::has_capability;
pub use process::{clone, default_signals};
pub use program::wants;
pub use progress::Progress;
pub use pull::{Blob, Pulled, client, innermost, pull};
pub use registry::{InvalidRegistry, Registry};
pub use rootfs::Rootfs;
pub use unpack::{Compression, LeftOut, Limits, apply_layer};
