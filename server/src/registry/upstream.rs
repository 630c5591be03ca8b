//! A registry that the mirror asks for what it has not. Speaks the distribution protocol through oci-client.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use oci_client::client::{BlobResponse, SizedStream};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, manifest};

use super::error::StoreError;
use super::manifest::MANIFEST_LIMIT;
use super::name::{Digest, ManifestReference, RepositoryName, Tag};
use crate::runtime::{self, Registry};

/// An upstream registry.
pub struct Upstream {
    registry: Registry,
    client: Client,
    login: RegistryAuth,
}

/// A blob, or the end of one, on its way.
pub struct Piece {
    /// The bytes.
    pub stream: BoxStream<'static, io::Result<Vec<u8>>>,
    /// How many bytes the whole blob has, if the registry has told.
    pub size: Option<u64>,
    /// The place of the first byte that comes.
    pub from: u64,
}

/// How long a registry may take for anything that is not a blob.
const PATIENCE: Duration = Duration::from_secs(30);

/// A page of a list of tags, and how many pages are asked for at most.
const TAG_PAGE: usize = 1000;
const TAG_PAGES: usize = 20;

impl Upstream {
    /// Prepares to ask a registry, as whoever `docker login` has made known; does not connect yet.
    pub fn new(registry: Registry) -> Result<Upstream, StoreError> {
        if !registry.is_safe() {
            return Err(StoreError::Unencrypted { registry: registry.host().to_owned() });
        }
        Upstream::insecure(registry)
    }

    /// The same, though others may read and change what is said.
    pub fn insecure(registry: Registry) -> Result<Upstream, StoreError> {
        let client = runtime::client(&registry).map_err(StoreError::Client)?;
        let login = match runtime::find_credentials(registry.host()) {
            Ok(Some(found)) => RegistryAuth::Basic(found.user, found.password),
            Ok(None) => RegistryAuth::Anonymous,
            Err(source) => return Err(StoreError::Credentials { registry: registry.host().to_owned(), source }),
        };
        Ok(Upstream { registry, client, login })
    }

    /// Its name: host, and port if there is one.
    pub fn host(&self) -> &str {
        self.registry.host()
    }

    /// Fetches a manifest, whose digest is verified if that is what it is asked by.
    pub async fn manifest(&self, name: &RepositoryName, by: &ManifestReference) -> Result<Vec<u8>, StoreError> {
        let reference = match by {
            ManifestReference::Tag(tag) => {
                Reference::with_tag(self.host().into(), name.repository().into(), tag.as_str().into())
            }
            ManifestReference::Digest(digest) => self.reference(name, digest),
        };
        let pulled = self.client.pull_manifest_raw(&reference, &self.login, MEDIA_TYPES);
        let (bytes, _) = self.answer(pulled, StoreError::ManifestUnknown).await?;
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(self.corrupted("a manifest of more than 4 MiB"));
        }
        Ok(bytes.to_vec())
    }

    /// Begins to fetch a blob from a place on; from its start where the registry cannot do otherwise. Nothing is verified.
    pub async fn blob(&self, name: &RepositoryName, digest: &Digest, from: u64) -> Result<Piece, StoreError> {
        let reference = self.reference(name, digest);
        self.client.store_auth_if_needed(reference.resolve_registry(), &self.login).await;
        // Errors of oci-client's own verification come as errors of the stream.
        let whole = |sized: SizedStream| Piece { size: sized.content_length, stream: plain(sized), from: 0 };
        if from == 0 {
            let asked = self.client.pull_blob_stream(&reference, digest.as_str());
            return self.answer(asked, StoreError::BlobUnknown).await.map(whole);
        }
        let asked = self.client.pull_blob_stream_partial(&reference, digest.as_str(), from, None);
        Ok(match self.answer(asked, StoreError::BlobUnknown).await? {
            BlobResponse::Full(sized) => whole(sized),
            BlobResponse::Partial(sized) => {
                Piece { size: sized.content_length.map(|rest| from.saturating_add(rest)), stream: plain(sized), from }
            }
        })
    }

    /// All tags of a repository, as far as there are no more than some ten thousand.
    pub async fn tags(&self, name: &RepositoryName) -> Result<Vec<Tag>, StoreError> {
        let reference = Reference::with_tag(self.host().into(), name.repository().into(), "latest".into());
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..TAG_PAGES {
            let last = tags.last().cloned();
            let asked = self.client.list_tags(&reference, &self.login, Some(TAG_PAGE), last.as_deref());
            let page = self.answer(asked, StoreError::NameUnknown).await?.tags;
            let full = page.len() == TAG_PAGE && page.last() != last.as_ref();
            tags.extend(page);
            // One that knows nothing of pages has sent all there is.
            if !full {
                break;
            }
        }
        Ok(tags.into_iter().filter_map(|tag| tag.parse().ok()).collect())
    }

    fn reference(&self, name: &RepositoryName, digest: &Digest) -> Reference {
        Reference::with_digest(self.host().into(), name.repository().into(), digest.as_str().into())
    }

    /// What a registry that sends wrong bytes is answered with.
    pub fn corrupted(&self, reason: &str) -> StoreError {
        StoreError::Corrupted { registry: self.host().to_owned(), reason: reason.to_owned() }
    }

    /// What a connection that ends too soon is answered with.
    pub fn cut(&self, reason: &str) -> StoreError {
        StoreError::Cut { registry: self.host().to_owned(), reason: reason.to_owned() }
    }

    /// Why no more bytes of a blob come.
    pub fn explain_read(&self, error: &io::Error) -> StoreError {
        match error.get_ref() {
            Some(cause) if cause.is::<DigestError>() => self.corrupted(&cause.to_string()),
            Some(cause) => self.cut(&runtime::innermost(cause)),
            None => self.cut(&error.to_string()),
        }
    }

    /// Waits for an answer, though not for ever; `unknown` is what a 404 means.
    async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, OciDistributionError>>,
        unknown: StoreError,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => answer.map_err(|error| self.explain(error, unknown)),
            Err(_) => Err(StoreError::Unreachable {
                registry: self.host().to_owned(),
                reason: format!("no answer for {} s", PATIENCE.as_secs()),
            }),
        }
    }

    /// What a failed request means for the mirror's client.
    fn explain(&self, error: OciDistributionError, unknown: StoreError) -> StoreError {
        use OciErrorCode::{
            BlobUnknown, Denied, ManifestUnknown, NameUnknown, NotFound, Toomanyrequests, Unauthorized,
        };
        let registry = self.host().to_owned();
        match error {
            OciDistributionError::ServerError { code: 404, .. } => unknown,
            OciDistributionError::ServerError { code: 429, .. } => StoreError::TooManyRequests { registry },
            OciDistributionError::ServerError { code: code @ 500.., .. } => {
                StoreError::Trouble { registry, reason: format!("status {code}") }
            }
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
            OciDistributionError::RequestError(error) if error.is_connect() || error.is_timeout() => {
                StoreError::Unreachable { registry, reason: runtime::innermost(&error) }
            }
            OciDistributionError::RequestError(error) => {
                StoreError::Cut { registry, reason: runtime::innermost(&error) }
            }
            OciDistributionError::DigestError(error) => StoreError::Corrupted { registry, reason: error.to_string() },
            other => StoreError::Upstream { registry, reason: other.to_string() },
        }
    }
}

fn plain(sized: SizedStream) -> BoxStream<'static, io::Result<Vec<u8>>> {
    sized.stream.map(|piece| piece.map(|bytes| bytes.to_vec())).boxed()
}

/// The manifests that are mirrored: Docker's and OCI's, of one image and of several platforms.
const MEDIA_TYPES: &[&str] = &[
    manifest::OCI_IMAGE_INDEX_MEDIA_TYPE,
    manifest::OCI_IMAGE_MEDIA_TYPE,
    manifest::IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    manifest::IMAGE_MANIFEST_MEDIA_TYPE,
];
