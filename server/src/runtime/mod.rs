//! The taught code: a small container runtime, written to be read from top to bottom. It imports nothing else of
//! Newroot, so that what is taught is all there is.
//!
//! Read it in the order of what happens:
//!
//! 1. [`options`]: what can be asked for; [`image`]: what an image is called, and where its rootfs lives.
//! 2. [`pull`]: asks a registry for an image and downloads its layers. Its two helpers are the way to the registry, and
//!    the place on disk; [`registry`] is a registry's address.
//! 3. [`unpack`]: lays the layers over each other, which gives the rootfs; [`layer`] reads them as streams, [`rootfs`]
//!    makes sure that nothing leaves the directory, and [`attributes`] sets owners, modes and times.
//! 4. [`parent`]: starts a child, which is this same program again, in new namespaces, and waits for it.
//! 5. [`child`]: sets the container up from the inside, and becomes the command.
//! 6. [`mounts`], [`devices`] and [`root`]: what the child does to its mounts, to /dev and to its root directory.
//! 7. [`config`] and [`user`]: what the image says about its command, and as whom it runs.
//!
//! [`error`] has a variant for each call that can fail. [`process`] has the only `unsafe` code, and [`certificates`]
//! mends a machine that has none; neither teaches anything about containers.

mod attributes;
mod certificates;
mod child;
mod config;
mod devices;
mod error;
mod image;
mod layer;
mod mounts;
mod options;
mod parent;
mod process;
mod pull;
mod registry;
mod root;
mod rootfs;
mod unpack;
mod user;

pub use certificates::ensure_certificates;
pub use child::run as run_child;
pub use error::{PullError, RunError, UnpackError};
pub use image::{Image, InvalidImage};
pub use layer::{Compression, Limits};
pub use options::{MountSet, Propagation, PullOptions, RootMethod, RunOptions};
pub use parent::run;
pub use process::{clone, default_signals};
pub use pull::{Pulled, client, innermost, pull};
pub use registry::{InvalidRegistry, Registry};
pub use rootfs::Rootfs;
pub use unpack::apply_layer;
