//! Makes room among content: what was asked for longest ago goes first, and what is being read never goes, but for what is
//! read by whoever takes more of the cache than the one who needs the room would. The limit is never passed: what would
//! pass it is refused.

mod held;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock, statvfs};
use rustix::io::Errno;

use super::client::{Client, Number};
use super::content::Content;
use super::error::StoreError;
use super::name::Digest;
pub use held::{Held, Reader};

/// Content of a limited size.
pub struct Cache {
    content: Content,
    /// In bytes.
    limit: u64,
    /// Whether the limit holds also where everything is being read; a test may say no.
    is_strict: bool,
    /// The bytes that each client is about to add. Who holds the lock decides who gets room.
    reserved: Mutex<HashMap<Number, u64>>,
    /// The files that are being read.
    held: Mutex<HashMap<Digest, Weak<Held>>>,
}

/// Room in the cache for what is about to come; it is free again when this is dropped.
pub struct Room {
    cache: Arc<Cache>,
    client: Client,
    bytes: u64,
}

impl Cache {
    /// Lets content grow up to `limit` bytes.
    pub fn new(content: Content, limit: u64, is_strict: bool) -> Cache {
        Cache { content, limit, is_strict, reserved: Mutex::default(), held: Mutex::default() }
    }

    /// What is in the cache.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Opens a blob for a client to read. All who read it share the one descriptor.
    pub fn read(&self, client: &Client, digest: &Digest) -> Result<Option<(Reader, u64)>, StoreError> {
        let Some(file) = self.content.blob(digest)? else { return Ok(None) };
        let inode = |file: &File| file.metadata().map(|metadata| (metadata.ino(), metadata.len()));
        let failed = |source| StoreError::Read { path: self.content.path(digest), source };
        let (ino, size) = inode(&file).map_err(failed)?;
        let mut all = self.all_held();
        if let Some(held) = all.get(digest).and_then(Weak::upgrade)
            && let Some(open) = held.file()
            && inode(&open).is_ok_and(|(other, _)| other == ino)
        {
            return Ok(Some((held.reader(client), size)));
        }
        let held = Held::open(file);
        remember(&mut all, digest, &held);
        Ok(Some((held.reader(client), size)))
    }

    /// Makes known that a blob is read while it comes.
    pub fn reads(&self, digest: &Digest, held: &Arc<Held>) {
        remember(&mut self.all_held(), digest, held);
    }

    /// Makes room for so many more bytes, within the limit and on the disk. Errors where there can be none: the disk is
    /// full of other things, or all of the cache is being read by others with no less right.
    pub fn reserve(self: &Arc<Cache>, client: &Client, bytes: u64) -> Result<Room, StoreError> {
        let mut room = Room { cache: self.clone(), client: client.clone(), bytes: 0 };
        room.grow(bytes)?;
        Ok(room)
    }

    fn make_room(&self, reserved: &HashMap<Number, u64>, client: &Client, bytes: u64) -> Result<(), StoreError> {
        let coming: u64 = reserved.values().sum();
        let excess = |cache: &Cache| -> Result<u64, StoreError> {
            let size = cache.content.size()?.saturating_add(coming);
            Ok(size.saturating_add(bytes).saturating_sub(cache.limit))
        };
        let its_own = reserved.get(&client.number()).copied().unwrap_or(0);
        // One who fetches much at once must leave room for others who fetch.
        let share = if its_own > 0 { self.limit / 2 } else { self.limit };
        if self.is_strict && its_own.saturating_add(bytes) > share {
            return Err(StoreError::CacheFull { bytes, limit: self.limit });
        }
        let lacking = bytes.saturating_sub(self.free()?);
        let too_much = excess(self)?.max(lacking);
        if too_much > 0 {
            self.content.evict(too_much)?;
        }
        while self.is_strict && excess(self)? > 0 {
            if !self.revoke_for(client, its_own.saturating_add(bytes)) {
                return Err(StoreError::CacheFull { bytes, limit: self.limit });
            }
            self.content.evict(excess(self)?)?;
        }
        match bytes.saturating_sub(self.free()?) {
            0 => Ok(()),
            lacking => Err(StoreError::DiskFull { path: self.content.blobs(), lacking }),
        }
    }

    /// Takes a blob away from those who read it, if each of them takes up more of the cache than this client will: from
    /// those with the most first. What several read counts for each of them in part. Returns whether there was one.
    fn revoke_for(&self, client: &Client, bytes: u64) -> bool {
        let mut takes: HashMap<Number, u64> = HashMap::new();
        let mut blobs = Vec::new();
        for (digest, held) in self.all_held().iter() {
            let Some(held) = held.upgrade() else { continue };
            let (clients, file) = (held.clients(), held.file());
            // What is still arriving has no name yet, and is counted as reserved.
            let Some(size) = file.and_then(|file| file.metadata().ok()).map(|metadata| metadata.len()) else {
                continue;
            };
            if clients.is_empty() || !self.content.has(digest) {
                continue;
            }
            for reader in &clients {
                *takes.entry(*reader).or_default() += size / clients.len() as u64;
            }
            blobs.push((held, clients));
        }
        let wanted = takes.get(&client.number()).copied().unwrap_or(0).saturating_add(bytes);
        let least = |clients: &[Number]| clients.iter().filter_map(|reader| takes.get(reader)).min().copied();
        let most =
            blobs.iter().filter_map(|(held, clients)| Some((least(clients)?, held))).max_by_key(|(least, _)| *least);
        match most {
            Some((least, held)) if least > wanted => {
                held.revoke();
                true
            }
            _ => false,
        }
    }

    /// The bytes that are free on the disk.
    fn free(&self) -> Result<u64, StoreError> {
        let path = self.content.blobs();
        let disk = statvfs(&path).map_err(|errno| StoreError::Read { path, source: errno.into() })?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn all_held(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Held>>> {
        // The map is never left half changed, so a panic elsewhere while it was locked has done it no harm.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Makes it larger by so many bytes.
    pub fn grow(&mut self, bytes: u64) -> Result<(), StoreError> {
        // As above.
        let mut reserved = self.cache.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        self.cache.make_room(&reserved, &self.client, bytes)?;
        *reserved.entry(self.client.number()).or_default() += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// How large it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut reserved = self.cache.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = reserved.get_mut(&self.client.number()) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                reserved.remove(&self.client.number());
            }
        }
    }
}

fn remember(all: &mut HashMap<Digest, Weak<Held>>, digest: &Digest, held: &Arc<Held>) {
    all.retain(|_, other| other.strong_count() > 0);
    all.insert(digest.clone(), Arc::downgrade(held));
}

/// A blob on disk.
struct Entry {
    used: SystemTime,
    size: u64,
    path: PathBuf,
}

impl Content {
    /// How many bytes all blobs have.
    pub fn size(&self) -> Result<u64, StoreError> {
        Ok(self.entries()?.iter().map(|entry| entry.size).sum())
    }

    /// Removes blobs until at least so many bytes are free, or nothing is left that is not being read. Returns how many
    /// bytes that were.
    pub fn evict(&self, bytes: u64) -> Result<u64, StoreError> {
        let mut entries = self.entries()?;
        entries.sort_by_key(|entry| entry.used);
        let mut freed = 0;
        for entry in entries {
            if freed >= bytes {
                break;
            }
            if remove_unless_read(&entry.path)? {
                freed += entry.size;
            }
        }
        // A tag of nothing would only be in the way: its image must be fetched anew in any case.
        for (name, tag, digest) in self.all_tags() {
            if !self.has(&digest) {
                self.remove_tag(&name, &tag)?;
            }
        }
        Ok(freed)
    }

    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let directory = self.blobs();
        let failed = |source| StoreError::Read { path: directory.clone(), source };
        let mut entries = Vec::new();
        let files = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(entries),
            result => result.map_err(failed)?,
        };
        for entry in files {
            let entry = entry.map_err(failed)?;
            // One that another process has just removed needs no room.
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.accessed().unwrap_or(SystemTime::UNIX_EPOCH);
            entries.push(Entry { used, size: metadata.len(), path: entry.path() });
        }
        Ok(entries)
    }
}

/// Removes a blob, unless somebody has it open (every reader holds a shared lock). Returns whether it is gone by this.
pub fn remove_unless_read(path: &Path) -> Result<bool, StoreError> {
    let failed = |source| StoreError::Write { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        result => result.map_err(failed)?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(false),
        result => result.map_err(|errno| failed(errno.into()))?,
    }
    // Who opens it in this moment reads it to its end all the same: the kernel keeps a file until it is closed.
    fs::remove_file(path).map(|()| true).map_err(failed)
}
