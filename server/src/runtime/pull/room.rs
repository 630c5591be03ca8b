//! Room on the disk: what is needed, and what there is. Said before the disk is full where it can be known, and else
//! when it happens.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::super::error::PullError;

/// What was needed when somebody last asked, and what was free.
pub struct Room {
    directory: PathBuf,
    needed: u64,
    free: u64,
}

impl Room {
    /// Nothing is needed yet.
    pub fn below(directory: &Path) -> Room {
        Room { directory: directory.to_owned(), needed: 0, free: 0 }
    }

    /// Fails if there are not as many bytes free as will be needed at least.
    pub fn check(&mut self, needed: u64) -> Result<(), PullError> {
        self.needed = needed;
        // Where this is not known there is room until the disk says no.
        self.free = statvfs(&self.directory)
            .map_or(u64::MAX, |status| status.blocks_available().saturating_mul(status.fragment_size()));
        if needed <= self.free { Ok(()) } else { Err(self.full()) }
    }

    /// What an error means: that the disk is full can show in any call that makes something.
    pub fn explain(&self, error: PullError) -> PullError {
        if error.is_disk_full() { self.full() } else { error }
    }

    fn full(&self) -> PullError {
        let size = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        PullError::DiskFull { directory: self.directory.clone(), needed: size(self.needed), free: size(self.free) }
    }
}
