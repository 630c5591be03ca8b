//! The first reading of a layer, before anything of it is unpacked: is it well-formed, how big is it, and what does it
//! remove from the layers below? It needs no rootfs, so that several layers can be read at once.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tar::EntryType;

use super::super::error::UnpackError;
use super::layer::{Compression, Limits, decompress, for_each_entry, path_of};

/// What the first reading of a layer has found.
#[derive(Debug, Default)]
pub struct Survey {
    /// The SHA-256 digest of the archive without its compression, which the image's configuration calls `diff_id`.
    pub diff_id: String,
    /// What its files will take on disk at least, in bytes; holes take nothing.
    pub bytes: u64,
    /// The paths of its whiteouts.
    pub whiteouts: Vec<PathBuf>,
}

/// Reads a layer through to its end.
pub fn survey(layer: impl Read, compression: Compression, mut limits: Limits) -> Result<Survey, UnpackError> {
    let mut archive = Digested { inner: decompress(layer, compression), digest: Sha256::new() };
    let mut survey = Survey::default();
    let mut names = NamesKept::default();
    for_each_entry(&mut archive, &mut limits, |entry, extended| {
        let path = path_of(entry, extended)?;
        // The tar reader counts the holes of the one form of sparse files that it knows.
        let holey = entry.header().entry_type() == EntryType::GNUSparse;
        let size = if holey { entry.header().entry_size().unwrap_or(0) } else { entry.size() };
        survey.bytes = survey.bytes.saturating_add(size);
        if whited_out(&path).is_some() {
            survey.whiteouts.push(names.keep(path)?);
        }
        Ok(())
    })?;
    // Behind the last entry come zeros, and they are part of what the digest is of.
    let rest = io::copy(&mut (&mut archive).take(MAX_TRAILER), &mut io::sink()).map_err(UnpackError::ReadLayer)?;
    if rest == MAX_TRAILER {
        return Err(UnpackError::ReadLayer(io::Error::other("the archive goes on behind its end")));
    }
    let hex: String = archive.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Survey { diff_id: format!("sha256:{hex}"), ..survey })
}

/// What a path removes, if it is the path of a whiteout.
pub fn whited_out(path: &Path) -> Option<&[u8]> {
    path.file_name()?.as_bytes().strip_prefix(b".wh.")
}

/// How many bytes may follow the last entry. Two blocks of zeros must, and tools fill up to a round number.
const MAX_TRAILER: u64 = 16 << 20;

/// Counts the bytes of the names that have to stay in memory for the time of a layer.
#[derive(Default)]
pub struct NamesKept(usize);

impl NamesKept {
    /// In bytes. Directories of an honest image have a few of these millions.
    const LIMIT: usize = 32 << 20;

    /// Keeps one more.
    pub fn keep(&mut self, path: PathBuf) -> Result<PathBuf, UnpackError> {
        self.0 += path.as_os_str().len();
        if self.0 > NamesKept::LIMIT { Err(UnpackError::TooManyEntries) } else { Ok(path) }
    }
}

/// A reader that takes the digest of what it reads.
struct Digested<R> {
    inner: R,
    digest: Sha256,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}
