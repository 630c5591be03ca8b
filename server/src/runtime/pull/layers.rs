//! Gets the layers of an image: several at once, for the network and the decompression take longest, and handed out in
//! their order, because each is the difference to those before it.

use std::fs::File;
use std::io::Seek;

use futures_util::{Stream, StreamExt, stream};
use oci_client::manifest::{self, OciDescriptor};

use super::super::error::PullError;
use super::super::progress::LayerProgress;
use super::super::unpack::{Compression, Limits, Survey, survey};
use super::connection::Connection;
use super::download::{Blob, download};
use super::interruption::{Interruptible, Interruption};
use super::place::Scratch;

/// How many layers are on their way at once. Each has its file on disk, and at most the window of its compression in
/// memory, which is 128 MiB at the utmost.
pub const AT_ONCE: usize = 3;

/// A layer that is still to come.
pub struct Wanted {
    /// What the manifest says of it.
    pub descriptor: OciDescriptor,
    /// The digest of its archive without compression, as the configuration has it.
    pub diff_id: String,
    /// Where its progress is shown.
    pub progress: LayerProgress,
}

/// A layer that is here, and is what the image says.
pub struct Layer {
    /// Its name in messages.
    pub blob: Blob,
    /// Its content, from the start, as long as no signal comes.
    pub file: Interruptible<File>,
    /// How that is compressed.
    pub compression: Compression,
    /// What is in it.
    pub survey: Survey,
    /// Where its progress is shown.
    pub progress: LayerProgress,
}

// step: fetch-layers
/// Fetches layers and hands them out in their order. There are never more than `AT_ONCE` under way or waiting.
pub fn fetch(
    wanted: impl Iterator<Item = Wanted>,
    connection: &Connection,
    scratch: Scratch,
    interruption: &Interruption,
) -> impl Stream<Item = Result<Layer, PullError>> {
    let tasks = wanted.map(move |wanted| {
        let (connection, scratch, interruption) = (connection.clone(), scratch.clone(), interruption.clone());
        // A task goes on by itself, while those before it are unpacked.
        async { tokio::spawn(fetch_one(wanted, connection, scratch, interruption)).await }
    });
    stream::iter(tasks).buffered(AT_ONCE).map(|joined| joined.map_err(|error| PullError::Tokio(error.into()))?)
}

/// Downloads a layer, and reads it through once: what is not as the image says must not get as far as the rootfs.
async fn fetch_one(
    wanted: Wanted,
    connection: Connection,
    scratch: Scratch,
    interruption: Interruption,
) -> Result<Layer, PullError> {
    let Wanted { descriptor, diff_id, progress } = wanted;
    let blob = Blob::Layer(descriptor.digest.clone());
    let compression = compression_of(&descriptor)?;
    let file = download(&connection, blob.clone(), descriptor.size, &scratch, |arrived| progress.arrived(arrived));
    let mut file = Interruptible { file: file.await?, interruption };
    let unpacking = |source| PullError::Unpack { layer: blob.clone(), source };
    // It keeps a processor busy; tokio gives the other downloads to another thread.
    let survey =
        tokio::task::block_in_place(|| survey(&mut file, compression, Limits::default())).map_err(unpacking)?;
    if survey.diff_id != diff_id {
        return Err(PullError::DiffId { layer: blob, expected: diff_id, actual: survey.diff_id });
    }
    file.rewind().map_err(|source| PullError::WriteBlob { blob: blob.clone(), source })?;
    Ok(Layer { blob, file, compression, survey, progress })
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
