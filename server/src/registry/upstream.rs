//! The one registry that the mirror asks for what it has not. Speaks the distribution protocol through oci-client.

use std::io::Write;

use futures_util::StreamExt;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, manifest};
use tempfile::NamedTempFile;

use super::error::StoreError;
use super::name::{Digest, ManifestReference, RepositoryName};
use super::store::MANIFEST_LIMIT;
use crate::runtime::{self, Registry};

/// An upstream registry.
pub struct Upstream {
    registry: Registry,
    client: Client,
}

/// The largest blob that is taken.
const BLOB_LIMIT: u64 = 16 << 30;

impl Upstream {
    /// Prepares to ask a registry; does not connect yet.
    pub fn new(registry: Registry) -> Result<Upstream, StoreError> {
        if !registry.is_safe() {
            return Err(StoreError::Unencrypted { registry: registry.host().to_owned() });
        }
        let client = runtime::client(&registry).map_err(StoreError::Client)?;
        Ok(Upstream { registry, client })
    }

    /// Fetches a manifest, whose digest is verified if that is what it is asked by.
    pub async fn manifest(&self, name: &RepositoryName, reference: &ManifestReference) -> Result<Vec<u8>, StoreError> {
        let (host, repository) = (self.registry.host().to_owned(), name.as_str().to_owned());
        let reference = match reference {
            ManifestReference::Tag(tag) => Reference::with_tag(host, repository, tag.as_str().to_owned()),
            ManifestReference::Digest(digest) => Reference::with_digest(host, repository, digest.as_str().to_owned()),
        };
        let pulled = self.client.pull_manifest_raw(&reference, &RegistryAuth::Anonymous, MEDIA_TYPES).await;
        let (bytes, _) = pulled.map_err(|error| self.explain(error, StoreError::ManifestUnknown))?;
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(self.corrupted("a manifest of more than 4 MiB"));
        }
        Ok(bytes.to_vec())
    }

    /// Fetches a blob into a file, and verifies its digest.
    pub async fn blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        mut file: NamedTempFile,
    ) -> Result<NamedTempFile, StoreError> {
        let reference =
            Reference::with_digest(self.registry.host().into(), name.as_str().into(), digest.as_str().into());
        self.client.store_auth_if_needed(reference.resolve_registry(), &RegistryAuth::Anonymous).await;
        let pulled = self.client.pull_blob_stream(&reference, digest.as_str()).await;
        let mut stream = pulled.map_err(|error| self.explain(error, StoreError::BlobUnknown))?.stream;
        let mut left = BLOB_LIMIT;
        // oci-client computes the digest on the way, and ends with an error where it is not the one asked for.
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| self.corrupted(&error.to_string()))?;
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| self.corrupted("a blob of more than 16 GiB"))?;
            file.write_all(&bytes).map_err(|source| StoreError::Write { path: file.path().to_owned(), source })?;
        }
        Ok(file)
    }

    fn corrupted(&self, reason: &str) -> StoreError {
        StoreError::Corrupted { registry: self.registry.host().to_owned(), reason: reason.to_owned() }
    }

    /// What a failed request means for the mirror's client; `unknown` is what a 404 means.
    fn explain(&self, error: OciDistributionError, unknown: StoreError) -> StoreError {
        use OciErrorCode::{
            BlobUnknown, Denied, ManifestUnknown, NameUnknown, NotFound, Toomanyrequests, Unauthorized,
        };
        let registry = self.registry.host().to_owned();
        match error {
            OciDistributionError::ServerError { code: 404, .. } => unknown,
            OciDistributionError::ServerError { code: 429, .. } => StoreError::TooManyRequests { registry },
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
                StoreError::Unauthorized { registry }
            }
            OciDistributionError::RegistryError { envelope, .. } => match envelope.errors.into_iter().next() {
                Some(error) => match error.code {
                    ManifestUnknown | BlobUnknown | NameUnknown | NotFound => unknown,
                    Unauthorized | Denied => StoreError::Unauthorized { registry },
                    Toomanyrequests => StoreError::TooManyRequests { registry },
                    _ => StoreError::Upstream { registry, reason: error.message },
                },
                None => StoreError::Upstream { registry, reason: "no message".to_owned() },
            },
            OciDistributionError::RequestError(error) => {
                StoreError::Unreachable { registry, reason: runtime::innermost(&error) }
            }
            OciDistributionError::DigestError(error) => StoreError::Corrupted { registry, reason: error.to_string() },
            other => StoreError::Upstream { registry, reason: other.to_string() },
        }
    }
}

/// The manifests that are mirrored: Docker's and OCI's, of one image and of several platforms.
const MEDIA_TYPES: &[&str] = &[
    manifest::OCI_IMAGE_INDEX_MEDIA_TYPE,
    manifest::OCI_IMAGE_MEDIA_TYPE,
    manifest::IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    manifest::IMAGE_MANIFEST_MEDIA_TYPE,
];
