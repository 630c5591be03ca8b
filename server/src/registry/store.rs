//! The mirror's one door: a manifest, a blob or a list of tags, from wherever it is nearest.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::blob::Blob;
use super::client::{Bounds, Client, Turns};
use super::content::Content;
use super::download::{Downloads, GRACE};
use super::embedded;
use super::error::StoreError;
use super::inventory;
use super::manifest::{MANIFEST_LIMIT, Manifest};
use super::name::{Digest, ManifestReference, RepositoryName, Tag};
use super::room::{Cache, Held};
use super::upstream::Upstream;
use crate::defence::{Defence, Defences};

/// The imported images, those in this binary, the cache, and the upstreams: looked into in this order.
pub struct Store {
    imported: Arc<Content>,
    cache: Arc<Cache>,
    downloads: Arc<Downloads>,
    upstream: Option<Arc<Upstream>>,
    /// The registries that are asked for names with a host.
    mirrored: HashMap<String, Arc<Upstream>>,
    /// The manifests that are being fetched; who asks meanwhile gets the same answer.
    fetching: Mutex<HashMap<String, WeakShared<Fetching>>>,
    /// Whose turn it is to ask an upstream for anything but a blob.
    turns: Turns,
    /// The server itself, where it asks for no client.
    server: Client,
}

/// How much the mirror may take.
#[derive(Clone)]
pub struct Limits {
    /// The most that its cache may take of the disk, in bytes.
    pub cache: u64,
    /// How long a blob of which something is here goes on to come when nobody waits for it.
    pub grace: Duration,
    /// Which of its defences stand.
    pub defences: Defences,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { cache: CACHE_LIMIT, grace: GRACE, defences: Defences::default() }
    }
}

type Fetching = BoxFuture<'static, Result<Manifest, Arc<StoreError>>>;

/// How long the digest of a tag is believed. A room of learners that pull the same image then counts as one pull
/// at the upstream, which may count.
const TAG_AGE: Duration = Duration::from_secs(300);

/// How long an upstream may take to say what a tag is now, where we know what it was.
const SLOW: Duration = Duration::from_secs(10);

/// How long somebody waits who only wants to know whether there is an upstream.
const SOON: Duration = Duration::from_secs(2);

/// How large the cache may become where nothing else is said, in bytes.
const CACHE_LIMIT: u64 = 20 << 30;

/// How many requests for manifests, tags and sizes are under way at once. They are short, and no descriptor of the disk
/// stays open for one.
const BOUNDS: Bounds = Bounds { own: 1, shared: 32, each: 4, waiting: 16 };

impl Store {
    /// Opens the store below a state directory (`/var/lib/newroot`). Without an upstream only what is here is served.
    /// Only one server may use a state directory at a time.
    pub fn open(state: &Path, upstream: Option<Upstream>) -> Result<Store, StoreError> {
        Store::limited(state, upstream, Limits::default())
    }

    /// The same, with limits of one's own.
    pub fn limited(state: &Path, upstream: Option<Upstream>, limits: Limits) -> Result<Store, StoreError> {
        let content = Content::open(cache_directory(state))?;
        content.remove_unfinished()?;
        let stands = |defence| limits.defences.stand(defence);
        let cache = Arc::new(Cache::new(content, limits.cache, stands(Defence::CacheLimit)));
        Ok(Store {
            imported: Arc::new(Content::open(imported_directory(state))?),
            downloads: Arc::new(Downloads::new(cache.clone(), limits.grace, stands(Defence::Turns))),
            cache,
            upstream: upstream.map(Arc::new),
            mirrored: HashMap::new(),
            fetching: Mutex::default(),
            turns: Turns::new(BOUNDS),
            server: Client::new(),
        })
    }

    /// Asks this registry for images whose names begin with `host`.
    pub fn mirror(&mut self, host: String, upstream: Upstream) {
        self.mirrored.insert(host, Arc::new(upstream));
    }

    /// A manifest by tag or digest.
    pub async fn manifest(
        &self,
        client: &Client,
        name: &RepositoryName,
        by: &ManifestReference,
    ) -> Result<Manifest, Arc<StoreError>> {
        let here = self.manifest_here(name, by, TAG_AGE).await?;
        if let Some(manifest) = here {
            return Ok(manifest);
        }
        let stale = self.manifest_here(name, by, Duration::MAX).await?;
        let upstream = match self.upstream_of(name) {
            Ok(Some(upstream)) => upstream,
            Ok(None) => return stale.ok_or(StoreError::ManifestUnknown.into()),
            Err(error) => return stale.ok_or(error.into()),
        };
        let fetched = self.ask(client, async {
            // The turn may have taken its time, and somebody else have got it meanwhile.
            match self.manifest_here(name, by, TAG_AGE).await? {
                Some(manifest) => Ok(manifest),
                None => self.fetch_manifest(client, upstream, name, by).await,
            }
        });
        let Some(stale) = stale else {
            return fetched.await.map_err(|error| self.offline(error));
        };
        match tokio::time::timeout(SLOW, fetched).await {
            Ok(Ok(manifest)) => Ok(manifest),
            // The registry has said that there is no such thing, or not for us.
            Ok(Err(error)) if matches!(*error, StoreError::ManifestUnknown | StoreError::Unauthorized { .. }) => {
                Err(error)
            }
            // Better what the tag was yesterday than nothing at all.
            Ok(Err(_)) | Err(_) => Ok(stale),
        }
    }

    /// A blob by its digest. It may still be arriving; but its first bytes are there.
    pub async fn blob(&self, client: &Client, name: &RepositoryName, digest: &Digest) -> Result<Blob, Arc<StoreError>> {
        loop {
            if let Some(blob) = self.blob_here(client, name, digest).await? {
                return Ok(blob);
            }
            let upstream = self.upstream_of(name)?.ok_or(StoreError::BlobUnknown)?;
            client.may_ask()?;
            // `None`: somebody has fetched it since we looked.
            if let Some(arriving) = self.downloads.join(client, upstream, name, digest).await? {
                let blob = Blob::Arriving(arriving);
                return match blob.started().await {
                    Ok(()) => Ok(blob),
                    Err(error) => {
                        client.has_failed();
                        Err(self.offline(error))
                    }
                };
            }
        }
    }

    /// The size of a blob, without fetching it; `None` if its registry does not tell.
    pub async fn blob_size(
        &self,
        client: &Client,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, Arc<StoreError>> {
        if let Some(blob) = self.blob_here(client, name, digest).await? {
            return Ok(blob.size());
        }
        if let Some(size) = self.downloads.size(digest) {
            return Ok(Some(size));
        }
        let upstream = self.upstream_of(name)?.ok_or(StoreError::BlobUnknown)?;
        self.ask(client, async { Ok(upstream.blob(name, digest, 0).await?.size) }).await
    }

    /// Asks an upstream for a client, when it is that one's turn.
    async fn ask<T>(
        &self,
        client: &Client,
        request: impl Future<Output = Result<T, Arc<StoreError>>>,
    ) -> Result<T, Arc<StoreError>> {
        client.may_ask()?;
        let _turn = self.turns.turn(client).await?;
        request.await.inspect_err(|_| client.has_failed())
    }

    /// The tags of a repository, here and at its upstream. Where that cannot be asked, those that are here.
    pub async fn tags(&self, client: &Client, name: &RepositoryName) -> Result<BTreeSet<Tag>, Arc<StoreError>> {
        let mut tags: BTreeSet<Tag> = [&self.imported, self.cache.content()]
            .into_iter()
            .flat_map(Content::all_tags)
            .filter_map(|(repository, tag, _)| (repository == *name).then_some(tag))
            .collect();
        if embedded::names().contains(name) {
            tags.extend("latest".parse::<Tag>());
        }
        let answer = match self.upstream_of(name) {
            Ok(Some(upstream)) => self.ask(client, async { Ok(upstream.tags(name).await?) }).await,
            Ok(None) => Err(StoreError::NameUnknown.into()),
            Err(error) => Err(error.into()),
        };
        match answer {
            Ok(more) => tags.extend(more),
            Err(error) if tags.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(tags)
    }

    /// Whether `latest` of a repository can be pulled: it is here, or its registry has just said so, or says so soon.
    pub async fn can_pull(&self, name: &RepositoryName) -> bool {
        let Ok(latest) = "latest".parse::<Tag>() else { return false };
        let here = [&*self.imported, self.cache.content()]
            .into_iter()
            .any(|content| content.tag(name, &latest, Duration::MAX).is_some_and(|digest| content.is_whole(&digest)));
        if here || self.cache.content().tag(name, &latest, TAG_AGE).is_some() {
            return true;
        }
        let Ok(Some(upstream)) = self.upstream_of(name) else { return false };
        // Once for all pages that ask in this moment, so it needs no turn.
        let fetched = self.fetch_manifest(&self.server, upstream, name, &ManifestReference::Tag(latest));
        matches!(tokio::time::timeout(SOON, fetched).await, Ok(Ok(_)))
    }

    /// What of a manifest is known without asking anybody; of tags, what is not older than `age`.
    async fn manifest_here(
        &self,
        name: &RepositoryName,
        by: &ManifestReference,
        age: Duration,
    ) -> Result<Option<Manifest>, StoreError> {
        if let ManifestReference::Tag(tag) = by
            && let Some(digest) = self.imported.tag(name, tag, Duration::MAX)
            && let Some(manifest) = kept_manifest(&self.imported, &digest)?
        {
            return Ok(Some(manifest));
        }
        if let Some(manifest) = embedded::manifest(name, by) {
            return Ok(Some(manifest));
        }
        match by {
            ManifestReference::Tag(tag) => match self.cache.content().tag(name, tag, age) {
                Some(digest) => kept_manifest(self.cache.content(), &digest),
                None => Ok(None),
            },
            ManifestReference::Digest(digest) => match kept_manifest(&self.imported, digest)? {
                Some(manifest) => Ok(Some(manifest)),
                None => kept_manifest(self.cache.content(), digest),
            },
        }
    }

    /// A blob that is here, and whole.
    async fn blob_here(
        &self,
        client: &Client,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Blob>, StoreError> {
        if let Some(bytes) = embedded::blob(name, digest) {
            return Ok(Some(Blob::Embedded(bytes)));
        }
        let (imported, cache, client, digest) =
            (self.imported.clone(), self.cache.clone(), client.clone(), digest.clone());
        // It may have to read all of a large file.
        let look = tokio::task::spawn_blocking(move || {
            let Some(file) = imported.blob(&digest)? else { return cache.read(&client, &digest) };
            let size =
                file.metadata().map_err(|source| StoreError::Read { path: imported.path(&digest), source })?.len();
            Ok(Some((Held::open(file).reader(&client), size)))
        });
        let here = look.await.map_err(|_| StoreError::Interrupted)??;
        Ok(here.map(|(reader, size)| Blob::Kept { reader, size }))
    }

    /// Asks the upstream, once however many want to know, and keeps the answer.
    fn fetch_manifest(
        &self,
        client: &Client,
        upstream: &Arc<Upstream>,
        name: &RepositoryName,
        by: &ManifestReference,
    ) -> Shared<Fetching> {
        let key = format!("{}{by}", name.as_str());
        // The map is never left half changed, so a panic elsewhere while it was locked has done it no harm.
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, other| other.upgrade().is_some());
        if let Some(other) = fetching.get(&key).and_then(WeakShared::upgrade) {
            return other;
        }
        let (client, upstream, cache) = (client.clone(), upstream.clone(), self.cache.clone());
        let (name, by) = (name.clone(), by.clone());
        let fetched: Fetching = async move {
            let bytes = match upstream.manifest(&name, &by).await {
                Err(error) if error.may_pass() => upstream.manifest(&name, &by).await?,
                first => first?,
            };
            let manifest = Manifest::new(bytes).ok_or_else(|| upstream.corrupted("no manifest"))?;
            let _room = cache.reserve(&client, manifest.bytes.len() as u64)?;
            cache.content().keep_bytes(&manifest.bytes)?;
            if let ManifestReference::Tag(tag) = &by {
                cache.content().set_tag(&name, tag, &manifest.digest)?;
            }
            Ok(manifest)
        }
        .boxed();
        let fetched = fetched.shared();
        fetching.extend(fetched.downgrade().map(|weak| (key, weak)));
        fetched
    }

    /// Which registry has a repository; `None` if this mirror asks nobody.
    fn upstream_of(&self, name: &RepositoryName) -> Result<Option<&Arc<Upstream>>, StoreError> {
        let Some(host) = name.host() else { return Ok(self.upstream.as_ref()) };
        let upstream = self.upstream.as_ref().filter(|upstream| upstream.host() == host);
        match self.mirrored.get(host).or(upstream) {
            Some(upstream) => Ok(Some(upstream)),
            // Whoever may name any host could make the server ask whatever only the server can reach.
            None => Err(StoreError::NotMirrored { host: host.to_owned() }),
        }
    }

    /// Who cannot get an image is told which ones there are.
    fn offline(&self, error: Arc<StoreError>) -> Arc<StoreError> {
        let StoreError::Unreachable { registry, reason } = &*error else { return error };
        let cause = StoreError::Unreachable { registry: registry.clone(), reason: reason.clone() };
        let images = inventory::names(&self.imported, self.cache.content()).join(", ");
        Arc::new(StoreError::Offline { cause: Box::new(cause), images })
    }
}

/// The directories below the state directory that a store writes to.
pub fn directories(state: &Path) -> Vec<PathBuf> {
    vec![imported_directory(state), cache_directory(state)]
}

/// Where below the state directory the cache is.
pub fn cache_directory(state: &Path) -> PathBuf {
    state.join("cache")
}

/// Where below the state directory the imported images are.
pub fn imported_directory(state: &Path) -> PathBuf {
    state.join("imported")
}

/// A manifest that is kept, if it is there, and is one.
fn kept_manifest(content: &Content, digest: &Digest) -> Result<Option<Manifest>, StoreError> {
    // There are layers too, of any size: who asks for one as a manifest must not fill the memory, or wait for its digest.
    if fs::metadata(content.path(digest)).is_ok_and(|metadata| metadata.len() > MANIFEST_LIMIT) {
        return Ok(None);
    }
    let Some(file) = content.blob(digest)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = (&file).take(MANIFEST_LIMIT).read_to_end(&mut bytes);
    read.map_err(|source| StoreError::Read { path: content.path(digest), source })?;
    Ok(Manifest::new(bytes).filter(|manifest| manifest.digest == *digest))
}
