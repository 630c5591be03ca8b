//! What has been fetched before, on disk: content under its digest, and for each tag the digest it had last.
//!
//! `blobs/sha256/DIGITS` is complete and verified whenever it is there; `tags/NAME/:TAG` holds a digest; `unfinished/` is
//! emptied when the server starts.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::error::StoreError;
use super::name::{Digest, RepositoryName, Tag};

/// The cache's directory.
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens the cache, and makes it where it is missing. Only one server may use a cache at a time.
    pub fn open(directory: PathBuf) -> Result<Cache, StoreError> {
        let cache = Cache { directory };
        match fs::remove_dir_all(cache.unfinished()) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Write { path: cache.unfinished(), source });
            }
            _ => {}
        }
        for path in [cache.unfinished(), cache.directory.join("blobs/sha256")] {
            fs::create_dir_all(&path).map_err(|source| StoreError::Write { path, source })?;
        }
        Ok(cache)
    }

    /// Opens a blob, or a manifest, which is stored in the same way.
    pub fn blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Read { path, source }),
        }
    }

    /// A file to write a blob into that is not verified yet. It goes when it is dropped.
    pub fn new_blob(&self) -> Result<NamedTempFile, StoreError> {
        let path = self.unfinished();
        NamedTempFile::new_in(&path).map_err(|source| StoreError::Write { path, source })
    }

    /// Keeps a blob whose digest has been verified.
    pub fn keep(&self, blob: NamedTempFile, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        blob.persist(&path).map_err(|error| StoreError::Write { path, source: error.error })
    }

    /// The digest that a tag had when it was last looked up, if that is not longer ago than `age`.
    pub fn tag(&self, name: &RepositoryName, tag: &Tag, age: Duration) -> Option<Digest> {
        let path = self.tag_path(name, tag);
        let changed = fs::metadata(&path).ok()?.modified().ok()?;
        let text = fs::read_to_string(&path).ok()?;
        // A time in the future (the clock was set back) counts as just now.
        (changed.elapsed().unwrap_or_default() <= age).then(|| text.parse().ok()).flatten()
    }

    /// Remembers the digest of a tag.
    pub fn set_tag(&self, name: &RepositoryName, tag: &Tag, digest: &Digest) -> Result<(), StoreError> {
        let path = self.tag_path(name, tag);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            let mut file = NamedTempFile::new_in(self.unfinished())?;
            file.write_all(digest.as_str().as_bytes())?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|source| StoreError::Write { path: path.clone(), source })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    /// The colon, which no name can have, keeps the tag `b` of `a` apart from the repository `a/b`.
    fn tag_path(&self, name: &RepositoryName, tag: &Tag) -> PathBuf {
        self.directory.join("tags").join(name.as_str()).join(format!(":{}", tag.as_str()))
    }

    fn unfinished(&self) -> PathBuf {
        self.directory.join("unfinished")
    }
}
