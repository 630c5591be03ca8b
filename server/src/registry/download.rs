//! Fetches blobs from an upstream into the cache, each once however many ask, and lets all of them read along.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::{Semaphore, watch};

use super::blob::{Arriving, Progress};
use super::content::hold;
use super::error::StoreError;
use super::name::{Digest, RepositoryName};
use super::room::Cache;
use super::upstream::{Piece, Upstream};

/// The blobs that are being fetched.
pub struct Downloads {
    cache: Arc<Cache>,
    running: Mutex<HashMap<Digest, Arriving>>,
    /// Whatever learners ask for: no more than this is fetched at once.
    slots: Semaphore,
}

/// The largest blob that is taken.
const BLOB_LIMIT: u64 = 16 << 30;

/// How long to wait before each further try when nothing at all has come since the last one.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

impl Downloads {
    /// None yet; what they fetch goes into the cache.
    pub fn new(cache: Arc<Cache>) -> Downloads {
        Downloads { cache, running: Mutex::default(), slots: Semaphore::new(16) }
    }

    /// Joins the fetching of a blob, or begins it. `None` if it has just been finished: then it is in the cache.
    ///
    /// What is begun goes on when all who asked for it have gone: somebody who was cut off will be back.
    pub fn join(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arriving>, StoreError> {
        let mut running = self.running();
        if let Some(arriving) = running.get(digest) {
            return Ok(Some(arriving.clone()));
        }
        if self.cache.content().has(digest) {
            return Ok(None);
        }
        let blob = self.cache.content().new_blob()?;
        let file = blob.reopen().and_then(|file| hold(&file).map(|()| file));
        let file = file.map_err(|source| StoreError::Read { path: blob.path().to_owned(), source })?;
        let (progress, receiver) = watch::channel(Progress::default());
        let arriving = Arriving { file: Arc::new(file), progress: receiver };
        running.insert(digest.clone(), arriving.clone());
        let (downloads, upstream, name, digest) = (self.clone(), upstream.clone(), name.clone(), digest.clone());
        tokio::spawn(async move {
            let outcome = downloads.fetch(&upstream, &name, &digest, blob, &progress).await;
            if let Err(error) = &outcome {
                tracing::warn!("{} of {} was not fetched: {error}", digest.as_str(), name.as_str());
            }
            downloads.running().remove(&digest);
            progress.send_modify(|progress| progress.outcome = Some(outcome.map_err(Arc::new)));
        });
        Ok(Some(arriving))
    }

    async fn fetch(
        &self,
        upstream: &Upstream,
        name: &RepositoryName,
        digest: &Digest,
        blob: NamedTempFile,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), StoreError> {
        let _slot = self.slots.acquire().await.map_err(|_| StoreError::Interrupted)?;
        let mut download = Download { cache: &self.cache, blob, progress, arrived: 0, sha256: Sha256::new() };
        let mut pauses = PAUSES.iter();
        loop {
            let before = download.arrived;
            match download.fetch_rest(upstream, name, digest).await {
                Ok(()) => break,
                // A registry that was there a moment ago may be back in the next.
                Err(error)
                    if error.may_pass() || download.arrived > 0 && matches!(error, StoreError::Unreachable { .. }) =>
                {
                    if download.arrived > before {
                        pauses = PAUSES.iter();
                    }
                    let Some(pause) = pauses.next() else { return Err(error) };
                    tokio::time::sleep(*pause).await;
                }
                Err(error) => return Err(error),
            }
        }
        let Download { blob, arrived, sha256, .. } = download;
        let actual = Digest::finish(sha256);
        if actual != *digest {
            return Err(upstream.corrupted(&format!("{} instead of {}", actual.as_str(), digest.as_str())));
        }
        self.cache.content().keep(blob, digest)?;
        progress.send_modify(|progress| progress.readable = arrived);
        // Its followers have it open: others make room for it, if that is needed. If they cannot, it is here all the same.
        if let Err(error) = self.cache.make_room(0) {
            tracing::warn!("the mirror's cache is over its limit: {error}");
        }
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Digest, Arriving>> {
        // The map is never left half changed, so a panic elsewhere while it was locked has done it no harm.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob of which a part has arrived.
struct Download<'a> {
    cache: &'a Cache,
    blob: NamedTempFile,
    progress: &'a watch::Sender<Progress>,
    arrived: u64,
    sha256: Sha256,
}

impl Download<'_> {
    /// Asks for the bytes that are missing, and lets readers have them as they come.
    async fn fetch_rest(
        &mut self,
        upstream: &Upstream,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StoreError> {
        let Piece { mut stream, size, from } = upstream.blob(name, digest, self.arrived).await?;
        let known = self.progress.borrow().size;
        let size = known.or(size);
        if size.is_some_and(|size| size > BLOB_LIMIT) {
            return Err(upstream.corrupted("a blob of more than 16 GiB"));
        }
        if self.arrived == 0 {
            self.cache.make_room(size.unwrap_or(0))?;
            self.progress.send_modify(|progress| progress.size = size);
        }
        // A registry that cannot send parts begins from the start; what is there already is passed over.
        let mut known = self.arrived.saturating_sub(from);
        while size.is_none_or(|size| self.arrived < size) {
            let Some(bytes) = stream.next().await else {
                // Without a size this is the end; with one, the end has come too soon.
                return match size {
                    None => Ok(()),
                    Some(_) => Err(upstream.cut("it ended before all of the blob had come")),
                };
            };
            let bytes = bytes.map_err(|error| upstream.explain_read(&error))?;
            let skipped = known.min(bytes.len() as u64);
            known -= skipped;
            self.take(&bytes[skipped as usize..], size, upstream)?;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], size: Option<u64>, upstream: &Upstream) -> Result<(), StoreError> {
        self.arrived += bytes.len() as u64;
        if self.arrived > size.unwrap_or(BLOB_LIMIT) {
            return Err(upstream.corrupted("more bytes than the blob has"));
        }
        self.write(bytes)?;
        self.sha256.update(bytes);
        // One byte is held back, for it may be the last one. And where all have come, what they are is known at once.
        if size != Some(self.arrived) {
            self.progress.send_modify(|progress| progress.readable = self.arrived.saturating_sub(1));
        }
        Ok(())
    }

    /// Where the disk fills up meanwhile, what is not being read makes room, once.
    fn write(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let write = || self.blob.as_file().write_all_at(bytes, self.arrived - bytes.len() as u64);
        let written = match write() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.cache.make_room(bytes.len() as u64)?;
                write()
            }
            result => result,
        };
        written.map_err(|source| StoreError::Write { path: self.blob.path().to_owned(), source })
    }
}
