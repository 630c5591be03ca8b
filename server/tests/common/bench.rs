//! A place to unpack layers in, which notices what gets out of it.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;

use newroot::runtime::{Compression, LeftOut, Limits, Rootfs, UnpackError, apply_layer};
use tempfile::TempDir;

use super::{Layer, names_in};

/// A rootfs inside a directory whose other content must never change.
pub struct Bench {
    directory: TempDir,
}

impl Bench {
    /// An empty one.
    pub fn new() -> Bench {
        Bench::in_directory(tempfile::tempdir().unwrap())
    }

    /// An empty one on a tmpfs, for those who need very many.
    pub fn in_memory() -> Bench {
        Bench::in_directory(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn in_directory(directory: TempDir) -> Bench {
        fs::create_dir(directory.path().join("rootfs")).unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/secret"), "untouched").unwrap();
        Bench { directory }
    }

    /// A path inside.
    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join("rootfs").join(path)
    }

    /// Unpacks a layer over what is there.
    pub fn apply(&self, layer: Layer) -> Result<LeftOut, UnpackError> {
        self.apply_within(layer.tar(), Compression::None, Limits::default())
    }

    /// Unpacks an archive, with limits of its own.
    pub fn apply_within(
        &self,
        bytes: Vec<u8>,
        compression: Compression,
        mut limits: Limits,
    ) -> Result<LeftOut, UnpackError> {
        let rootfs = Rootfs::open(&self.directory.path().join("rootfs")).unwrap();
        apply_layer(&rootfs, Cursor::new(bytes), compression, &mut limits)
    }

    /// A file's content.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// A path outside the rootfs, as an image could name it.
    pub fn outside(&self) -> String {
        self.directory.path().join("outside").to_str().unwrap().to_owned()
    }

    /// Nothing beside the rootfs has changed.
    pub fn assert_outside_is_untouched(&self) {
        let outside = self.directory.path().join("outside");
        assert_eq!(names_in(&outside), ["secret"]);
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "untouched");
        assert_eq!(fs::metadata(outside.join("secret")).unwrap().nlink(), 1);
        assert_eq!(names_in(self.directory.path()), ["outside", "rootfs"]);
    }

    /// An extended attribute.
    pub fn attribute(&self, path: &str, name: &str) -> rustix::io::Result<Vec<u8>> {
        let mut value = Vec::with_capacity(200);
        rustix::fs::lgetxattr(self.path(path), name, rustix::buffer::spare_capacity(&mut value)).map(|_| value)
    }
}
