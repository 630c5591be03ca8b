//! Pulls an image: asks a registry for its manifest, downloads the layers that the manifest lists, and has them laid
//! over each other (by `unpack`). Speaks the OCI distribution protocol through oci-client.

mod choice;
mod connection;
mod download;
mod place;
mod retry;

use std::fs::File;
use std::path::{Path, PathBuf};

use oci_client::manifest::{self, OciDescriptor};

use self::choice::manifest_for;
use self::connection::{Connection, connect};
pub use self::connection::{client, innermost};
use self::download::download;
use self::place::Place;
use super::error::{PullError, UnpackError};
use super::layer::{Compression, Limits};
use super::options::PullOptions;
use super::platform::Platform;
use super::put::LeftOut;
use super::rootfs::Rootfs;
use super::unpack::apply_layer;

/// What a pull has done.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The rootfs is new.
    Done {
        /// Where it is.
        rootfs: PathBuf,
        /// What of the image only a privileged root could have made.
        left_out: LeftOut,
    },
    /// The rootfs was there already, from this very manifest.
    AlreadyThere {
        /// Where it is.
        rootfs: PathBuf,
        /// The manifest's digest.
        digest: String,
    },
}

/// A layer that is downloaded and unpacked.
#[derive(Debug)]
pub struct LayerDone {
    /// Which one it is, from 1.
    pub number: usize,
    /// How many the image has.
    pub of: usize,
    /// Its digest.
    pub digest: String,
    /// Its size in bytes, compressed as it came.
    pub bytes: u64,
}

// step: pull-image
/// Pulls an image into its directory below `options.fs`, and tells `on_layer` of each layer that is unpacked.
pub fn pull(options: &PullOptions, mut on_layer: impl FnMut(&LayerDone)) -> Result<Pulled, PullError> {
    let connection = connect(options)?;
    let place = Place::lock(&options.image, &options.fs)?;
    let platform = options.platform.clone().unwrap_or_else(Platform::here);
    // One thread is enough: what takes time is the network, and unpacking.
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(PullError::Tokio)?;
    tokio.block_on(async {
        let (manifest, digest) = manifest_for(&connection, &platform).await?;
        // A digest names content: the same digest again means that nothing can have changed.
        if place.has(&digest) {
            return Ok(Pulled::AlreadyThere { rootfs: place.rootfs(), digest });
        }
        // Beside the rootfs, not in it: until all layers are there, the rootfs stays what it was.
        let unfinished = place.start_over()?;
        keep_config(&connection, &manifest.config, &place).await?;
        let mut limits = Limits::default();
        let mut left_out = LeftOut::default();
        // Lowest layer first: each is the difference to those before it.
        for (number, layer) in (1..).zip(&manifest.layers) {
            let compression = compression_of(layer)?;
            let file = download(&connection, layer, &place).await?;
            left_out += unpack(&unfinished, file, compression, &mut limits)
                .map_err(|source| PullError::Unpack { digest: layer.digest.clone(), source })?;
            on_layer(&LayerDone {
                number,
                of: manifest.layers.len(),
                digest: layer.digest.clone(),
                bytes: layer.size.max(0) as u64,
            });
        }
        place.finish(&digest)?;
        Ok(Pulled::Done { rootfs: place.rootfs(), left_out })
    })
}

/// Keeps the image's configuration, which is a blob like a layer, for `run`.
async fn keep_config(connection: &Connection, config: &OciDescriptor, place: &Place) -> Result<(), PullError> {
    // `run` will read it into memory.
    if config.size > MAX_CONFIG {
        return Err(PullError::ConfigSize { size: config.size });
    }
    place.keep_config(download(connection, config, place).await?)
}

/// The largest configuration of an image, in bytes; real ones have a few thousand.
const MAX_CONFIG: i64 = 4 << 20;

/// Unpacks a downloaded layer over those before it.
fn unpack(
    directory: &Path,
    layer: File,
    compression: Compression,
    limits: &mut Limits,
) -> Result<LeftOut, UnpackError> {
    let rootfs = Rootfs::open(directory).map_err(UnpackError::OpenRootfs)?;
    apply_layer(&rootfs, layer, compression, limits)
}

/// How a layer is compressed, by its media type: Docker and OCI have a name each for the same thing.
fn compression_of(layer: &OciDescriptor) -> Result<Compression, PullError> {
    match layer.media_type.as_str() {
        manifest::IMAGE_LAYER_GZIP_MEDIA_TYPE | manifest::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE => Ok(Compression::Gzip),
        manifest::IMAGE_LAYER_MEDIA_TYPE | manifest::IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE => Ok(Compression::None),
        OCI_ZSTD | DOCKER_ZSTD => Ok(Compression::Zstd),
        other => Err(PullError::LayerType { digest: layer.digest.clone(), media_type: other.to_owned() }),
    }
}

/// Two media types that oci-client has no names for.
const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
