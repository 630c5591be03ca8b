//! Fetches blobs from an upstream into the cache, each once however many ask, and lets all of them read along. Whoever asks
//! for one that is not under way waits for a turn of their own; what nobody waits for any more is dropped.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::watch;

use super::blob::{Arriving, Progress};
use super::client::{Bounds, Client, Turn, Turns};
use super::content::hold;
use super::error::StoreError;
use super::name::{Digest, RepositoryName};
use super::room::{Cache, Held, Room};
use super::upstream::{Piece, Upstream};

/// The blobs that are being fetched.
pub struct Downloads {
    cache: Arc<Cache>,
    running: Mutex<HashMap<Digest, Running>>,
    turns: Turns,
    /// Changes whenever one begins.
    begun: watch::Sender<()>,
    /// How long one goes on of which something is here and for which nobody waits; `None`: to its end.
    grace: Option<Duration>,
}

/// A blob that is being fetched.
struct Running {
    held: Arc<Held>,
    progress: Arc<watch::Sender<Progress>>,
    /// How many have come for it.
    asked: u64,
}

/// What is to be fetched, and for whom.
struct Wanted {
    client: Client,
    upstream: Arc<Upstream>,
    name: RepositoryName,
    digest: Digest,
}

/// How many blobs are fetched at once. Each takes a descriptor of the cache's disk and a connection; a pull fetches three
/// layers at once, and a learner may have a few pulls under way.
const BOUNDS: Bounds = Bounds { own: 1, shared: 16, each: 4, waiting: 16 };

/// As many as there were before each client had turns of its own: all take from the same.
const UNFAIR: Bounds = Bounds { own: 0, shared: 16, each: usize::MAX, waiting: usize::MAX };

/// How long a blob of which something is here goes on to come when all who waited have gone: whoever was cut off, or has
/// stopped a pull and begins it again, is back within seconds, and so is the rest of a room that pulls the same. Longer, and
/// a learner who asks and hangs up would have the server fetch much that nobody reads.
pub const GRACE: Duration = Duration::from_secs(30);

/// The largest blob that is taken.
const BLOB_LIMIT: u64 = 16 << 30;

/// By how much room grows for a blob whose size the upstream does not tell.
const STEP: u64 = 1 << 20;

/// How long to wait before each further try when nothing at all has come since the last one.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

impl Downloads {
    /// None yet; what they fetch goes into the cache. Not `fair`: clients are not told apart, and nothing is dropped.
    pub fn new(cache: Arc<Cache>, grace: Duration, fair: bool) -> Downloads {
        let bounds = if fair { BOUNDS } else { UNFAIR };
        Downloads {
            cache,
            running: Mutex::default(),
            turns: Turns::new(bounds),
            begun: watch::channel(()).0,
            grace: fair.then_some(grace),
        }
    }

    /// Joins the fetching of a blob, or waits for a turn of this client and begins it. `None` if it has just been finished:
    /// then it is in the cache. Until it has begun nothing is opened for it; whoever gives up waiting leaves nothing.
    pub async fn join(
        self: &Arc<Self>,
        client: &Client,
        upstream: &Arc<Upstream>,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arriving>, StoreError> {
        let mut begun = self.begun.subscribe();
        let mut turn = pin!(self.turns.turn(client));
        loop {
            begun.mark_unchanged();
            if let Some(running) = self.running().get_mut(digest) {
                return Ok(Some(running.follow(client)));
            }
            if self.cache.content().has(digest) {
                return Ok(None);
            }
            // Somebody else may get a turn for the same blob first; then that is the one.
            tokio::select! {
                turn = &mut turn => {
                    let (client, upstream, name, digest) = (client.clone(), upstream.clone(), name.clone(), digest.clone());
                    return Ok(self.begin(Wanted { client, upstream, name, digest }, turn?));
                }
                _ = begun.changed() => {}
            }
        }
    }

    /// What is known of a blob's size, if it is under way.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        self.running().get(digest)?.progress.borrow().size
    }

    /// Begins to fetch a blob, unless somebody has meanwhile.
    fn begin(self: &Arc<Self>, wanted: Wanted, turn: Turn) -> Option<Arriving> {
        let mut all = self.running();
        if let Some(running) = all.get_mut(&wanted.digest) {
            return Some(running.follow(&wanted.client));
        }
        if self.cache.content().has(&wanted.digest) {
            return None;
        }
        let progress = Arc::new(watch::Sender::new(Progress::default()));
        let mut running = Running { held: Arc::default(), progress: progress.clone(), asked: 0 };
        let (held, arriving) = (running.held.clone(), running.follow(&wanted.client));
        all.insert(wanted.digest.clone(), running);
        drop(all);
        self.begun.send_replace(());
        let downloads = self.clone();
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = downloads.fetch(&wanted, &held, &progress) => {
                    downloads.running().remove(&wanted.digest);
                    outcome
                }
                () = downloads.until_nobody_waits(&wanted.digest, &progress) => Err(StoreError::Interrupted),
            };
            drop(turn);
            if let Err(error) = &outcome {
                // Those who lag behind get an error as well, and must not keep what nobody else can have.
                held.discard();
                // That somebody was wrong or has gone is no news.
                let is_news = !matches!(error, StoreError::BlobUnknown | StoreError::Interrupted);
                if is_news && wanted.client.may_log() {
                    tracing::warn!("{} of {} was not fetched: {error}", wanted.digest.as_str(), wanted.name.as_str());
                }
            }
            progress.send_modify(|progress| progress.outcome = Some(outcome.map_err(Arc::new)));
        });
        Some(arriving)
    }

    /// Returns when nobody waits for a blob and it is not worth while to go on; then it is no longer one that others join.
    async fn until_nobody_waits(&self, digest: &Digest, progress: &watch::Sender<Progress>) {
        let Some(grace) = self.grace else { return std::future::pending().await };
        loop {
            progress.closed().await;
            let asked = self.running().get(digest).map(|running| running.asked);
            // Of what nobody has seen a byte of nothing is lost.
            if progress.borrow().readable > 0 {
                tokio::time::sleep(grace).await;
            }
            let mut running = self.running();
            // Who has come meanwhile, and may have gone again, is waited for as long once more.
            if progress.is_closed() && running.get(digest).map(|running| running.asked) == asked {
                running.remove(digest);
                return;
            }
        }
    }

    async fn fetch(
        &self,
        wanted: &Wanted,
        held: &Arc<Held>,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), StoreError> {
        let mut download = Download {
            cache: &self.cache,
            wanted,
            held,
            progress,
            file: None,
            room: None,
            arrived: 0,
            sha256: Sha256::new(),
        };
        let mut pauses = PAUSES.iter();
        loop {
            let before = download.arrived;
            match download.fetch_rest().await {
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
        let Download { file, arrived, sha256, room, .. } = download;
        let actual = Digest::finish(sha256);
        let Wanted { digest, upstream, .. } = wanted;
        let Some(file) = file.filter(|_| actual == *digest) else {
            return Err(upstream.corrupted(&format!("{} instead of {}", actual.as_str(), digest.as_str())));
        };
        self.cache.content().keep(file, digest)?;
        // From now on it counts as what is in the cache.
        drop(room);
        progress.send_modify(|progress| progress.readable = arrived);
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Digest, Running>> {
        // The map is never left half changed, so a panic elsewhere while it was locked has done it no harm.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// One more who reads along.
    fn follow(&mut self, client: &Client) -> Arriving {
        self.asked += 1;
        Arriving { reader: self.held.reader(client), progress: self.progress.subscribe() }
    }
}

/// A blob of which a part has arrived.
struct Download<'a> {
    cache: &'a Arc<Cache>,
    wanted: &'a Wanted,
    held: &'a Arc<Held>,
    progress: &'a watch::Sender<Progress>,
    /// There as soon as the upstream has said that it has the blob.
    file: Option<NamedTempFile>,
    room: Option<Room>,
    arrived: u64,
    sha256: Sha256,
}

impl Download<'_> {
    /// Asks for the bytes that are missing, and lets readers have them as they come.
    async fn fetch_rest(&mut self) -> Result<(), StoreError> {
        let Wanted { upstream, name, digest, .. } = self.wanted;
        let Piece { mut stream, size, from } = upstream.blob(name, digest, self.arrived).await?;
        let known = self.progress.borrow().size;
        let size = known.or(size);
        if size.is_some_and(|size| size > BLOB_LIMIT) {
            return Err(upstream.corrupted("a blob of more than 16 GiB"));
        }
        if self.file.is_none() {
            self.open(size.unwrap_or(0))?;
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

    /// Makes room for the blob, and the file that it is written to.
    fn open(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.room = Some(self.cache.reserve(&self.wanted.client, bytes)?);
        let file = self.cache.content().new_blob()?;
        let reopened = file.reopen().and_then(|file| hold(&file).map(|()| file));
        self.held.set(reopened.map_err(|source| StoreError::Read { path: file.path().to_owned(), source })?);
        self.cache.reads(&self.wanted.digest, self.held);
        self.file = Some(file);
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

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let (Some(file), Some(room)) = (&self.file, &mut self.room) else { return Err(StoreError::Interrupted) };
        if self.arrived > room.bytes() {
            room.grow(STEP.max(bytes.len() as u64))?;
        }
        let write = || file.as_file().write_all_at(bytes, self.arrived - bytes.len() as u64);
        let written = match write() {
            // Where the disk fills up meanwhile, what is not being read makes room, once.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.cache.reserve(&self.wanted.client, bytes.len() as u64)?;
                write()
            }
            result => result,
        };
        written.map_err(|source| StoreError::Write { path: file.path().to_owned(), source })
    }
}
