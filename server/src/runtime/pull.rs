//! Pulls an image: asks a registry for its manifest, downloads the layers that the manifest lists, and has them laid
//! over each other (by `unpack`). Speaks the OCI distribution protocol through oci-client.

mod connection;
mod place;

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use oci_client::client::current_platform_resolver;
use oci_client::config::Architecture;
use oci_client::manifest::{self, OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

pub use self::connection::{client, innermost};
use self::connection::{connect, explain};
use self::place::Place;
use super::error::{PullError, UnpackError};
use super::layer::{Compression, Limits};
use super::options::PullOptions;
use super::rootfs::Rootfs;
use super::unpack::apply_layer;

/// What a pull has done.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The rootfs is new.
    Done {
        /// Where it is.
        rootfs: PathBuf,
        /// How many device nodes of the image only a privileged root could have made.
        left_out: u64,
    },
    /// The rootfs was there already, from this very manifest.
    AlreadyThere {
        /// Where it is.
        rootfs: PathBuf,
        /// The manifest's digest.
        digest: String,
    },
}

// step: pull-image
/// Pulls an image into its directory below `options.fs`.
pub fn pull(options: &PullOptions) -> Result<Pulled, PullError> {
    let (client, reference) = connect(options)?;
    let place = Place::lock(&options.image, &options.fs)?;
    // One thread is enough: what takes time is the network, and unpacking.
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(PullError::Tokio)?;
    tokio.block_on(async {
        let (manifest, digest) = manifest_for_this_machine(&client, &reference).await?;
        // A digest names content: the same digest again means that nothing can have changed.
        if place.has(&digest) {
            return Ok(Pulled::AlreadyThere { rootfs: place.rootfs(), digest });
        }
        // Beside the rootfs, not in it: until all layers are there, the rootfs stays what it was.
        let unfinished = place.start_over()?;
        keep_config(&client, &reference, &manifest.config, &place).await?;
        let mut limits = Limits::default();
        let mut left_out = 0;
        // Lowest layer first: each is the difference to those before it.
        for layer in &manifest.layers {
            let compression = compression_of(layer)?;
            let file = download(&client, &reference, layer, &place).await?;
            left_out += unpack(&unfinished, file, compression, &mut limits)
                .map_err(|source| PullError::Unpack { digest: layer.digest.clone(), source })?;
        }
        place.finish(&digest)?;
        Ok(Pulled::Done { rootfs: place.rootfs(), left_out })
    })
}

/// The manifest is the list of an image's layers. A name can stand for an index instead: a list of manifests, one for
/// each kind of machine. Returns the manifest with its digest, which oci-client has verified.
async fn manifest_for_this_machine(
    client: &Client,
    reference: &Reference,
) -> Result<(OciImageManifest, String), PullError> {
    let anonymous = &RegistryAuth::Anonymous;
    let pulled = client.pull_manifest(reference, anonymous).await.map_err(|error| explain(error, reference))?;
    let index = match pulled {
        (OciManifest::Image(manifest), digest) => return Ok((manifest, digest)),
        (OciManifest::ImageIndex(index), _) => index,
    };
    let Some(digest) = current_platform_resolver(&index.manifests) else {
        let platforms = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
        let offered: Vec<_> = platforms.map(|platform| format!("{}/{}", platform.os, platform.architecture)).collect();
        return Err(PullError::Platform {
            image: reference.to_string(),
            wanted: format!("linux/{}", Architecture::default()),
            offered: offered.join(", "),
        });
    };
    let one = reference.clone_with_digest(digest);
    match client.pull_manifest(&one, anonymous).await.map_err(|error| explain(error, reference))? {
        (OciManifest::Image(manifest), digest) => Ok((manifest, digest)),
        (OciManifest::ImageIndex(_), _) => Err(PullError::Registry {
            registry: reference.registry().to_owned(),
            message: "an index leads to another index".to_owned(),
        }),
    }
}

/// Keeps the image's configuration, which is a blob like a layer, for `run`.
async fn keep_config(
    client: &Client,
    reference: &Reference,
    config: &OciDescriptor,
    place: &Place,
) -> Result<(), PullError> {
    // `run` will read it into memory.
    if config.size > MAX_CONFIG {
        return Err(PullError::ConfigSize { size: config.size });
    }
    place.keep_config(download(client, reference, config, place).await?)
}

/// The largest configuration of an image, in bytes; real ones have a few thousand.
const MAX_CONFIG: i64 = 4 << 20;

/// Downloads a layer into a file. A layer can be larger than the memory, so it goes from the network straight to disk;
/// and no byte of it is used before all have arrived and their digest is that of the manifest.
async fn download(
    client: &Client,
    reference: &Reference,
    layer: &OciDescriptor,
    place: &Place,
) -> Result<File, PullError> {
    let digest = || layer.digest.clone();
    let wrong_size = || PullError::LayerSize { digest: digest(), expected: layer.size.max(0) as u64 };
    let (mut file, path) = place.layer_file()?;
    // The digest alone, without the other addresses a manifest may name: those could be anybody's.
    let mut stream =
        client.pull_blob_stream(reference, layer.digest.as_str()).await.map_err(|error| explain(error, reference))?;
    let mut missing = u64::try_from(layer.size).map_err(|_| wrong_size())?;
    // oci-client computes the digest on the way, and ends with an error where it is not the one asked for.
    while let Some(bytes) = stream.stream.next().await {
        let bytes = bytes.map_err(|source| PullError::Download { digest: digest(), source })?;
        missing = missing.checked_sub(bytes.len() as u64).ok_or_else(wrong_size)?;
        file.write_all(&bytes).map_err(|source| PullError::WriteLayer { path: path.clone(), source })?;
    }
    if missing > 0 {
        return Err(wrong_size());
    }
    file.rewind().map_err(|source| PullError::WriteLayer { path, source })?;
    Ok(file)
}

/// Unpacks a downloaded layer over those before it.
fn unpack(directory: &Path, layer: File, compression: Compression, limits: &mut Limits) -> Result<u64, UnpackError> {
    let rootfs = Rootfs::open(directory).map_err(UnpackError::OpenRootfs)?;
    apply_layer(&rootfs, layer, compression, limits)
}

/// How a layer is compressed, by its media type: Docker and OCI have a name each for the same thing.
fn compression_of(layer: &OciDescriptor) -> Result<Compression, PullError> {
    match layer.media_type.as_str() {
        manifest::IMAGE_LAYER_GZIP_MEDIA_TYPE | manifest::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE => Ok(Compression::Gzip),
        manifest::IMAGE_LAYER_MEDIA_TYPE | manifest::IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE => Ok(Compression::None),
        other => Err(PullError::LayerType { digest: layer.digest.clone(), media_type: other.to_owned() }),
    }
}
