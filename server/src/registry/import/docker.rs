//! `docker save` archives as Docker wrote them before version 25, and other tools still do: `manifest.json` lists images,
//! each with its configuration and its layers. They have no manifest of the kind that registries serve; it is made here.

use flate2::read::MultiGzDecoder;
use oci_client::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE, IMAGE_LAYER_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
use serde::Deserialize;
use serde_json::json;

use super::super::content::Content;
use super::super::manifest::MANIFEST_LIMIT;
use super::super::name::Digest;
use super::source::Source;
use super::{Found, ImportError, keep};

const MANIFEST: &str = "manifest.json";

/// The most layers an image may have; Docker itself makes no more than 127.
const MOST_LAYERS: usize = 1000;

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The part of an image's configuration that matters here.
#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// Whether this is such an archive. A directory is none: what `manifest.json` names would be paths in it.
pub fn is_archive(source: &Source) -> bool {
    matches!(source, Source::Archive { entries, .. } if entries.contains_key(MANIFEST))
}

/// Keeps the images of an archive.
pub fn import(source: &Source, content: &Content) -> Result<Vec<Found>, ImportError> {
    let images: Vec<Image> = json(source, MANIFEST)?.1;
    images.into_iter().map(|image| import_one(source, content, image)).collect()
}

fn import_one(source: &Source, content: &Content, image: Image) -> Result<Found, ImportError> {
    let (config, Config { rootfs }) = json(source, &image.config)?;
    if rootfs.diff_ids.len() != image.layers.len() || image.layers.len() > MOST_LAYERS {
        return Err(ImportError::Layers { wanted: rootfs.diff_ids.len(), there: image.layers.len() });
    }
    let mut layers = Vec::new();
    for (name, diff_id) in image.layers.iter().zip(&rootfs.diff_ids) {
        let diff_id: Digest = diff_id.parse().map_err(|_| ImportError::Json { name: image.config.clone() })?;
        layers.push(layer(source, content, name, &diff_id)?);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MEDIA_TYPE,
        "config": {
            "mediaType": IMAGE_CONFIG_MEDIA_TYPE,
            "digest": content.keep_bytes(&config)?.as_str(),
            "size": config.len(),
        },
        "layers": layers,
    });
    let digest = content.keep_bytes(manifest.to_string().as_bytes())?;
    Ok(Found { digest, names: image.repo_tags.unwrap_or_default() })
}

/// Keeps a layer, and returns its descriptor. The configuration says what digest it has when it is not compressed.
fn layer(source: &Source, content: &Content, name: &str, diff_id: &Digest) -> Result<serde_json::Value, ImportError> {
    let missing = || ImportError::Missing { name: name.to_owned() };
    let copy = |source| ImportError::Copy { name: name.to_owned(), source };
    let part = || source.part(name)?.ok_or_else(missing);
    let (media_type, digest) = match part()?.starts_with(&[0x1f, 0x8b]) {
        false => (IMAGE_LAYER_MEDIA_TYPE, diff_id.clone()),
        true => {
            let actual = Digest::of_all(MultiGzDecoder::new(part()?)).map_err(copy)?;
            if actual != *diff_id {
                return Err(ImportError::Digest { name: name.to_owned(), digest: diff_id.clone(), actual });
            }
            (IMAGE_LAYER_GZIP_MEDIA_TYPE, Digest::of_all(part()?).map_err(copy)?)
        }
    };
    let part = part()?;
    let size = part.size();
    keep(content, name, part, &digest)?;
    Ok(json!({ "mediaType": media_type, "digest": digest.as_str(), "size": size }))
}

/// A JSON file of an archive: its bytes, and what they say.
fn json<T: for<'a> Deserialize<'a>>(source: &Source, name: &str) -> Result<(Vec<u8>, T), ImportError> {
    let bytes = source.bytes(name, MANIFEST_LIMIT)?.ok_or_else(|| ImportError::Missing { name: name.to_owned() })?;
    let value = serde_json::from_slice(&bytes).map_err(|_| ImportError::Json { name: name.to_owned() })?;
    Ok((bytes, value))
}
