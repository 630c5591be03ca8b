//! An image's directory on disk: the rootfs, beside it the digest it came from, and during a pull what is not finished.
//! Whenever a pull stops, by an error or by a signal, the rootfs is either the old one or the new one.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::super::error::PullError;
use super::super::image::Image;

/// An image's directory, locked against other pulls of the same image.
pub struct Place {
    directory: PathBuf,
    /// The directories that were made for it, the outermost first.
    made: Vec<PathBuf>,
    _lock: Flock<File>,
}

/// Where a pull keeps files that have no name: they are gone as soon as they are closed, however the pull ends.
#[derive(Clone)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new file, to write and then to read.
    pub fn file(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.0)
    }
}

impl Place {
    /// Makes the directory where it is missing, closes it to other users unless it is to be `open`, and takes the lock.
    pub fn lock(image: &Image, fs: &Path, open: bool) -> Result<Place, PullError> {
        let path = image.directory(fs);
        let mut made: Vec<_> = path.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
        made.reverse();
        let cannot_make = |reason| PullError::MakeDirectory { path: path.clone(), reason };
        fs::create_dir_all(&path).map_err(cannot_make)?;
        let directory = File::open(&path).map_err(cannot_make)?;
        // Else any user could execute a set-user-ID program of the image as its owner. In a container the rootfs is `/`.
        let mode = if open { 0o755 } else { 0o700 };
        let status = directory.metadata().map_err(cannot_make)?;
        if status.permissions().mode() & 0o777 != mode {
            directory.set_permissions(Permissions::from_mode(mode)).map_err(cannot_make)?;
        }
        // The kernel gives the lock back when this process ends, in whatever way.
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Place { directory: path, made, _lock: lock }),
            Err((_, errno)) => Err(PullError::Lock { image: image.to_string(), path, errno }),
        }
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The image's root directory.
    pub fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// Whether the rootfs is there, and came from the manifest with this digest.
    pub fn has(&self, digest: &str) -> bool {
        self.rootfs().is_dir() && fs::read_to_string(self.record()).is_ok_and(|recorded| recorded == digest)
    }

    /// An empty directory to unpack into. What an interrupted pull has left there goes.
    pub fn start_over(&self) -> Result<PathBuf, PullError> {
        let pulling = self.pulling();
        remove_all(&pulling)?;
        let make = |path: PathBuf, mode| match DirBuilder::new().mode(mode).create(&path) {
            Ok(()) => Ok(path),
            Err(reason) => Err(PullError::MakeDirectory { path, reason }),
        };
        // For root alone: half an image may have a set-user-ID program whose directory is not yet closed to others.
        make(pulling.clone(), 0o700)?;
        make(pulling.join("rootfs"), 0o755)
    }

    /// For what has to be on disk only during the pull. There after `start_over`.
    pub fn scratch(&self) -> Scratch {
        Scratch(self.pulling())
    }

    /// Keeps the image's configuration beside the rootfs that is being unpacked.
    pub fn keep_config(&self, mut config: File) -> Result<(), PullError> {
        let path = self.pulling().join("config");
        let written = File::create_new(&path).and_then(|mut file| io::copy(&mut config, &mut file));
        written.map(drop).map_err(|source| PullError::WriteConfig { path, source })
    }

    /// The configuration of the image that is there, if a pull has kept one.
    pub fn kept_config(&self) -> Option<Vec<u8>> {
        fs::read(self.config()).ok()
    }

    /// Puts the finished rootfs in its place, and writes down the digest it came from.
    pub fn finish(&self, digest: &str) -> Result<(), PullError> {
        let rename = |from: PathBuf, to: PathBuf| {
            fs::rename(&from, &to).map_err(|source| PullError::Rename { from, to, source })
        };
        // The digest goes first and comes last: where it is, it is true.
        if let Err(source) = fs::remove_file(self.record())
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(PullError::Record { path: self.record(), source });
        }
        if self.rootfs().exists() {
            rename(self.rootfs(), self.pulling().join("old"))?;
        }
        rename(self.pulling().join("config"), self.config())?;
        rename(self.pulling().join("rootfs"), self.rootfs())?;
        fs::write(self.record(), digest).map_err(|source| PullError::Record { path: self.record(), source })?;
        remove_all(&self.pulling())
    }

    fn config(&self) -> PathBuf {
        self.directory.join(".config.json")
    }

    fn record(&self) -> PathBuf {
        self.directory.join(".manifest-digest")
    }

    fn pulling(&self) -> PathBuf {
        self.directory.join(".pulling")
    }
}

impl Drop for Place {
    /// Takes away what a failed pull has left, so that it does not fill the disk. The next pull would do it too.
    fn drop(&mut self) {
        let _ = remove_all(&self.pulling());
        // Only empty directories go by this: those of an image that could not be pulled.
        let _ = fs::remove_dir(&self.directory);
        self.made.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
    }
}

fn remove_all(path: &Path) -> Result<(), PullError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PullError::RemoveLeftover { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
