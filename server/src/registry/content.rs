//! Content under its digest, and tags that name some of it, in a directory: the form of the cache and of the imported
//! images. There is no database; whatever is known is in files, so that several processes can look at once.
//!
//! `blobs/sha256/DIGITS` is a blob or a manifest, whole; `tags/NAME/:TAG` holds a digest; `unfinished/` is what is being
//! written. The time of a blob's last access says when it was last asked for.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use super::error::StoreError;
use super::name::{Digest, RepositoryName, Tag};

/// A directory of content.
pub struct Content {
    directory: PathBuf,
    /// What each file looked like when its digest was last verified. Who verifies one holds its lock; others wait.
    verified: Mutex<HashMap<Digest, Arc<Mutex<Option<Fingerprint>>>>>,
}

/// Inode, size and time of the last change (ctime, which nobody can set): a file that was written to has others.
type Fingerprint = (u64, u64, i64, i64);

impl Content {
    /// What is in a directory; it may be missing, and is then empty.
    pub fn at(directory: PathBuf) -> Content {
        Content { directory, verified: Mutex::default() }
    }

    /// The same, in a directory that is made where it is missing.
    pub fn open(directory: PathBuf) -> Result<Content, StoreError> {
        let content = Content::at(directory);
        close(&content.directory)?;
        for path in [content.unfinished(), content.blobs(), content.tags()] {
            fs::create_dir_all(&path).map_err(|source| StoreError::Write { path, source })?;
        }
        Ok(content)
    }

    /// Removes what a server that was killed has left half-written. Only for who writes here alone.
    pub fn remove_unfinished(&self) -> Result<(), StoreError> {
        let path = self.unfinished();
        let emptied = fs::remove_dir_all(&path).and_then(|()| fs::create_dir(&path));
        emptied.map_err(|source| StoreError::Write { path, source })
    }

    /// Opens a blob, or a manifest, which is stored in the same way. As long as the file is open, it is not evicted.
    ///
    /// Reads all of it when it is asked for first, and whenever it was changed since: one that does not have its digest
    /// is removed, and is then as if it had never been there. To read it each time would halve what the mirror can
    /// serve; and clients verify digests themselves, so that all this has to do is heal.
    pub fn blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let path = self.path(digest);
        let failed = |source| StoreError::Read { path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(digest);
                return Ok(None);
            }
            result => result.map_err(failed)?,
        };
        hold(&file).map_err(failed)?;
        let verified = self.verification(digest);
        let mut verified = verified.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = file.metadata().map_err(failed)?;
        if metadata.nlink() == 0 {
            // Removed while we waited for our turn; by now there may be a good one.
            drop(verified);
            return self.blob(digest);
        }
        let unchanged = *verified == Some(fingerprint(&metadata));
        if !unchanged && Digest::of_all(&file).map_err(failed)? != *digest {
            tracing::warn!("{} was damaged, and is removed", path.display());
            fs::remove_file(&path).map_err(|source| StoreError::Write { path: path.clone(), source })?;
            self.forget(digest);
            return Ok(None);
        }
        (&file).rewind().map_err(failed)?;
        // A minute is fine enough to tell what was used long ago, and spares the disk.
        if metadata.accessed().is_ok_and(|at| at.elapsed().unwrap_or_default() > Duration::from_secs(60)) {
            file.set_times(FileTimes::new().set_accessed(SystemTime::now())).map_err(failed)?;
        }
        *verified = Some(fingerprint(&file.metadata().map_err(failed)?));
        Ok(Some(file))
    }

    /// Whether a blob is there, whole or not.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// A file to write a blob into that is not verified yet. It goes when it is dropped.
    pub fn new_blob(&self) -> Result<NamedTempFile, StoreError> {
        let path = self.unfinished();
        let file = NamedTempFile::new_in(&path).and_then(|file| hold(file.as_file()).map(|()| file));
        file.map_err(|source| StoreError::Write { path, source })
    }

    /// Keeps a blob whose digest has been verified.
    pub fn keep(&self, blob: NamedTempFile, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        let verified = self.verification(digest);
        let mut verified = verified.lock().unwrap_or_else(PoisonError::into_inner);
        let file =
            blob.persist(&path).map_err(|error| StoreError::Write { path: path.clone(), source: error.error })?;
        *verified = Some(fingerprint(&file.metadata().map_err(|source| StoreError::Read { path, source })?));
        Ok(())
    }

    /// Keeps some bytes. Returns their digest.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let mut file = self.new_blob()?;
        file.write_all(bytes).map_err(|source| StoreError::Write { path: file.path().to_owned(), source })?;
        self.keep(file, &digest)?;
        Ok(digest)
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

    /// All tags, each with its repository and its digest, sorted. What cannot be read is left out.
    pub fn all_tags(&self) -> Vec<(RepositoryName, Tag, Digest)> {
        let mut found = Vec::new();
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(self.tags().join(&directory)).into_iter().flatten().flatten() {
                let file = entry.file_name();
                let Some(file) = file.to_str() else { continue };
                match file.strip_prefix(':') {
                    None => directories.push(directory.join(file)),
                    Some(tag) => {
                        let name = directory.to_str().and_then(|name| name.parse::<RepositoryName>().ok());
                        let digest = fs::read_to_string(entry.path()).ok().and_then(|text| text.parse().ok());
                        found.extend(
                            name.zip(tag.parse().ok()).zip(digest).map(|((name, tag), digest)| (name, tag, digest)),
                        );
                    }
                }
            }
        }
        found.sort_by(|(a, a_tag, _), (b, b_tag, _)| (a.as_str(), a_tag).cmp(&(b.as_str(), b_tag)));
        found
    }

    /// Removes a tag; what it named stays.
    pub fn remove_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<(), StoreError> {
        let path = self.tag_path(name, tag);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::Write { path, source }),
            _ => Ok(()),
        }
    }

    /// The file of a blob.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// The directory of the blobs.
    pub fn blobs(&self) -> PathBuf {
        self.directory.join("blobs/sha256")
    }

    /// The colon, which no part of a name begins with, keeps the tag `b` of `a` apart from the repository `a/b`.
    fn tag_path(&self, name: &RepositoryName, tag: &Tag) -> PathBuf {
        self.tags().join(name.as_str()).join(format!(":{}", tag.as_str()))
    }

    fn tags(&self) -> PathBuf {
        self.directory.join("tags")
    }

    fn unfinished(&self) -> PathBuf {
        self.directory.join("unfinished")
    }

    fn verification(&self, digest: &Digest) -> Arc<Mutex<Option<Fingerprint>>> {
        Arc::clone(self.all_verified().entry(digest.clone()).or_default())
    }

    fn forget(&self, digest: &Digest) {
        self.all_verified().remove(digest);
    }

    fn all_verified(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Mutex<Option<Fingerprint>>>>> {
        // The map is never left half changed, so a panic elsewhere while it was locked has done it no harm.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a directory that other users of this machine cannot get into: registries' private images are theirs as little as
/// the set-user-ID programs in them.
pub fn close(directory: &Path) -> Result<(), StoreError> {
    let closed =
        fs::create_dir_all(directory).and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o700)));
    closed.map_err(|source| StoreError::Write { path: directory.to_owned(), source })
}

/// Keeps an open file from being evicted, by whatever process. The lock goes with the last descriptor (flock(2)).
pub fn hold(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::LockShared)?)
}

fn fingerprint(metadata: &Metadata) -> Fingerprint {
    (metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec())
}
