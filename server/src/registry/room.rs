//! Makes room among content: what was asked for longest ago goes first, and what is being read never goes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock, statvfs};
use rustix::io::Errno;

use super::content::Content;
use super::error::StoreError;

/// Content of a limited size.
pub struct Cache {
    content: Content,
    /// In bytes.
    limit: u64,
}

impl Cache {
    /// Lets content grow up to `limit` bytes.
    pub fn new(content: Content, limit: u64) -> Cache {
        Cache { content, limit }
    }

    /// What is in the cache.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Makes room for so many more bytes, within the limit and on the disk. Errors where the disk is full of other things.
    pub fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
        let excess = self.content.size()?.saturating_add(bytes).saturating_sub(self.limit);
        let lacking = bytes.saturating_sub(self.free()?);
        if excess.max(lacking) > 0 {
            self.content.evict(excess.max(lacking))?;
        }
        match bytes.saturating_sub(self.free()?) {
            0 => Ok(()),
            lacking => Err(StoreError::DiskFull { path: self.content.blobs(), lacking }),
        }
    }

    /// The bytes that are free on the disk.
    fn free(&self) -> Result<u64, StoreError> {
        let path = self.content.blobs();
        let disk = statvfs(&path).map_err(|errno| StoreError::Read { path, source: errno.into() })?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
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
