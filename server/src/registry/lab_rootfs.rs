//! The root file system of the labs' machines: the embedded busybox image, unpacked once, by the same code that learners
//! see at work.

use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::content::close;
use super::embedded::{self, Descriptor};
use super::error::StoreError;
use super::name::{Digest, ManifestReference, RepositoryName};
use crate::runtime::{Compression, Limits, Rootfs, UnpackError, apply_layer};

/// The image that labs run.
const IMAGE: &str = "busybox";

/// The part of a manifest that matters here.
#[derive(Deserialize)]
struct Layers {
    layers: Vec<Descriptor>,
}

/// The directory with the labs' root file system, below a state directory, owned by root as it is in the image: unpacked on the first call,
/// just looked up on later ones. Blocks the thread for some milliseconds.
pub fn lab_rootfs(state: &Path) -> Result<PathBuf, StoreError> {
    let broken = || StoreError::Embedded { name: IMAGE };
    let name: RepositoryName = IMAGE.parse()?;
    let manifest = embedded::manifest(&name, &ManifestReference::Tag("latest".parse()?)).ok_or_else(broken)?;
    let images = state.join("images");
    let short = &manifest.digest.hex()[..12];
    let done = images.join(short);
    close(&images)?;
    if done.is_dir() {
        return Ok(done.join("rootfs"));
    }
    // Goes again if anything fails below.
    let unfinished = tempfile::Builder::new().prefix(".unpacking").tempdir_in(&images);
    let unfinished = unfinished.map_err(|source| StoreError::Write { path: images.clone(), source })?;
    let rootfs = unfinished.path().join("rootfs");
    fs::create_dir(&rootfs).map_err(|source| StoreError::Write { path: rootfs.clone(), source })?;
    let layers: Layers = serde_json::from_slice(&manifest.bytes).map_err(|_| broken())?;
    let unpack = |source: UnpackError| StoreError::Unpack { path: rootfs.clone(), source };
    let inside = Rootfs::open(&rootfs).map_err(|errno| unpack(UnpackError::OpenRootfs(errno)))?;
    let mut limits = Limits::default();
    for layer in layers.layers {
        let digest: Digest = layer.digest.parse()?;
        let bytes = embedded::blob(&name, &digest).ok_or_else(broken)?;
        let compression = if layer.media_type.ends_with("gzip") { Compression::Gzip } else { Compression::None };
        apply_layer(&inside, Cursor::new(bytes), compression, &mut limits).map_err(unpack)?;
    }
    match fs::rename(unfinished.path(), &done) {
        // Somebody else was faster, and has put the same there.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        Err(source) => return Err(StoreError::Write { path: done, source }),
        // It has its final name now: nothing is left to be removed.
        Ok(()) => drop(unfinished.keep()),
    }
    Ok(done.join("rootfs"))
}
