//! An image's configuration: a blob of JSON that says for which machine the image is and how it wants to be run. Here it
//! is checked and kept; `config` reads it again for `run`.

use std::io::{Read, Seek};

use oci_client::manifest::OciDescriptor;
use serde::Deserialize;

use super::super::error::PullError;
use super::super::platform::Platform;
use super::connection::Connection;
use super::download::{Blob, download};
use super::place::Place;

/// What a pull wants to know of it (OCI image specification, "Image Configuration").
#[derive(Deserialize)]
struct Configuration {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: Layers,
}

#[derive(Deserialize)]
struct Layers {
    diff_ids: Vec<String>,
}

/// Fetches the configuration, keeps it for `run`, and makes sure that the image is for the machine that is wanted.
/// Returns the digests of the layers without their compression.
pub async fn keep_configuration(
    connection: &Connection,
    descriptor: &OciDescriptor,
    wanted: &Platform,
    place: &Place,
) -> Result<Vec<String>, PullError> {
    if descriptor.size > MAX_SIZE {
        return Err(PullError::ConfigurationSize { size: descriptor.size });
    }
    let blob = Blob::Configuration(descriptor.digest.clone());
    let mut file = download(connection, blob.clone(), descriptor.size, &place.scratch(), |_| ()).await?;
    let mut json = Vec::new();
    file.read_to_end(&mut json).and_then(|_| file.rewind()).map_err(|source| PullError::WriteBlob { blob, source })?;
    let diff_ids = check_platform(&json, connection, wanted)?;
    place.keep_config(file)?;
    Ok(diff_ids)
}

/// The same for an image that is there already: its configuration was kept by the pull that brought it.
pub fn check_kept(connection: &Connection, wanted: &Platform, place: &Place) -> Result<(), PullError> {
    match place.kept_config() {
        Some(json) => check_platform(&json, connection, wanted).map(drop),
        None => Ok(()),
    }
}

fn check_platform(json: &[u8], connection: &Connection, wanted: &Platform) -> Result<Vec<String>, PullError> {
    // Whoever made no index has said it here alone; and some images do not say it at all.
    let Configuration { os, architecture, variant, rootfs } =
        serde_json::from_slice(json).map_err(PullError::Configuration)?;
    let (Some(os), Some(architecture)) = (os, architecture) else { return Ok(rootfs.diff_ids) };
    let offered = Platform::new(&os, &architecture, variant.as_deref());
    // Only indexes can be relied on for the variant.
    let fits = if variant.is_some() { wanted.accepts(&offered) } else { wanted.without_variant().accepts(&offered) };
    if fits {
        return Ok(rootfs.diff_ids);
    }
    Err(PullError::Platform {
        image: connection.reference.to_string(),
        wanted: wanted.to_string(),
        offered: offered.to_string(),
    })
}

/// The largest configuration of an image, in bytes, for it is read into memory; real ones have a few thousand.
const MAX_SIZE: i64 = 4 << 20;
