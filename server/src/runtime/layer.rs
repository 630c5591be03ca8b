//! A layer as a stream of entries: decompressed, taken from its tar archive, and bounded. What an entry does to the
//! rootfs is in `unpack`.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use super::error::UnpackError;

/// How a layer's tar archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
}

/// How much an image may still unpack to. A few kilobytes of layer can claim to be any size.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Files, directories, links and so on.
    pub entries: u64,
    /// Bytes in all files together.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { entries: 1_000_000, bytes: 16 << 30 }
    }
}

/// An entry of a layer: its header, and its content to read.
pub type Entry<'archive, 'layer> = tar::Entry<'archive, Bounded<'layer>>;

/// Shows each entry of a layer to `visit`, in the order of the archive, and takes it from the limits.
pub fn for_each_entry(
    layer: impl Read,
    compression: Compression,
    limits: &mut Limits,
    mut visit: impl FnMut(&mut Entry<'_, '_>) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    let allowance = Rc::new(Cell::new(0));
    let inner: Box<dyn Read + '_> = match compression {
        Compression::None => Box::new(io::BufReader::new(layer)),
        Compression::Gzip => Box::new(MultiGzDecoder::new(layer)),
    };
    let mut archive = tar::Archive::new(Bounded { inner, allowance: Rc::clone(&allowance) });
    let mut entries = archive.entries().map_err(UnpackError::ReadLayer)?;
    loop {
        // A header can have a name of any length before it, which the tar reader takes into memory as a whole.
        allowance.set(HEADER_LIMIT);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(UnpackError::ReadLayer)?;
        limits.entries = limits.entries.checked_sub(1).ok_or(UnpackError::TooManyEntries)?;
        limits.bytes = limits.bytes.checked_sub(entry.size()).ok_or(UnpackError::TooManyBytes)?;
        allowance.set(entry.size());
        visit(&mut entry)?;
        // What the visitor did not read must not count as part of the next header.
        io::copy(&mut entry, &mut io::sink()).map_err(UnpackError::ReadLayer)?;
    }
}

/// The bytes that may lie between the content of one entry and the next: headers, padding, long names.
const HEADER_LIMIT: u64 = 1 << 20;

/// A reader that fails after as many bytes as it is allowed.
pub struct Bounded<'layer> {
    inner: Box<dyn Read + 'layer>,
    allowance: Rc<Cell<u64>>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.allowance.get().checked_sub(count as u64) {
            Some(left) => self.allowance.set(left),
            None => return Err(io::Error::other("a header of the archive is too long")),
        }
        Ok(count)
    }
}
