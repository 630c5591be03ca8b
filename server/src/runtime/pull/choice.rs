//! Which manifest of an image is the one for a kind of machine.

use oci_client::Reference;
use oci_client::manifest::{ImageIndexEntry, OciImageManifest, OciManifest};

use super::super::error::PullError;
use super::super::platform::Platform;
use super::connection::Connection;
use super::retry::Patience;

// step: choose-manifest
/// The manifest is the list of an image's layers. A name can stand for an index instead: a list of manifests, one for
/// each kind of machine. Returns the manifest with its digest, which oci-client has verified.
pub async fn manifest_for(connection: &Connection, wanted: &Platform) -> Result<(OciImageManifest, String), PullError> {
    let reference = &connection.reference;
    let index = match ask(connection, reference).await? {
        (OciManifest::Image(manifest), digest) => return Ok((manifest, digest)),
        (OciManifest::ImageIndex(index), _) => index,
    };
    let offered: Vec<_> = index.manifests.iter().filter_map(|entry| Some((platform_of(entry)?, entry))).collect();
    let Some((_, entry)) = offered.iter().find(|(platform, _)| wanted.accepts(platform)) else {
        let offered: Vec<_> = offered.iter().map(|(platform, _)| platform.to_string()).collect();
        return Err(PullError::Platform {
            image: reference.to_string(),
            wanted: wanted.to_string(),
            offered: offered.join(", "),
        });
    };
    let one = reference.clone_with_digest(entry.digest.clone());
    match ask(connection, &one).await? {
        (OciManifest::Image(manifest), digest) => Ok((manifest, digest)),
        (OciManifest::ImageIndex(_), _) => Err(PullError::Registry {
            registry: reference.registry().to_owned(),
            message: "an index leads to another index".to_owned(),
        }),
    }
}

/// Asks for a manifest or an index. oci-client takes the answer into memory as a whole.
async fn ask(connection: &Connection, reference: &Reference) -> Result<(OciManifest, String), PullError> {
    let mut patience = Patience::default();
    loop {
        match connection.client.pull_manifest(reference, &connection.login).await {
            Ok(answer) => return Ok(answer),
            Err(error) => patience.wait_after(connection.explain(error)).await?,
        }
    }
}

/// What machines a manifest of an index is for. Notes about other manifests, which stand there too, are for none.
fn platform_of(entry: &ImageIndexEntry) -> Option<Platform> {
    let platform = entry.platform.as_ref()?;
    let (os, architecture) = (platform.os.to_string(), platform.architecture.to_string());
    (os != "unknown").then(|| Platform::new(&os, &architecture, platform.variant.as_deref()))
}
