//! A layer as a stream of entries: decompressed, taken from its tar archive, and bounded. What an entry does to the
//! rootfs is in `unpack`.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use super::super::error::UnpackError;
use super::super::rootfs::from_root;
use super::pax::{self, Extended};
use super::zstd::ZstdReader;

/// How a layer's tar archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
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

/// The tar archive of a layer, as it comes out of its compression.
pub fn decompress<'layer>(layer: impl Read + 'layer, compression: Compression) -> Box<dyn Read + 'layer> {
    match compression {
        Compression::None => Box::new(io::BufReader::new(layer)),
        Compression::Gzip => Box::new(MultiGzDecoder::new(layer)),
        Compression::Zstd => Box::new(ZstdReader::new(layer)),
    }
}

/// Shows each entry of an archive to `visit`, with what its PAX header says, in their order, and takes it from the
/// limits.
pub fn for_each_entry<'layer>(
    archive: impl Read + 'layer,
    limits: &mut Limits,
    mut visit: impl FnMut(&mut Entry<'_, 'layer>, &Extended) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    let watch = Rc::new(Watch::default());
    let mut archive = tar::Archive::new(Bounded { inner: Box::new(archive), watch: Rc::clone(&watch) });
    let mut entries = archive.entries().map_err(UnpackError::ReadLayer)?;
    loop {
        // A header can have a name of any length before it, which the tar reader takes into memory as a whole.
        watch.start_headers();
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(UnpackError::ReadLayer)?;
        let headers = watch.start_content(entry.size());
        let extended = pax::in_headers(&headers).map_err(UnpackError::ReadLayer)?;
        // Holes count as if they were data: a file with a huge one is a trap for whoever copies it.
        let size = extended.sparse.as_ref().map_or(0, |map| map.size).max(entry.size());
        limits.entries = limits.entries.checked_sub(1).ok_or(UnpackError::TooManyEntries)?;
        limits.bytes = limits.bytes.checked_sub(size).ok_or(UnpackError::TooManyBytes)?;
        visit(&mut entry, &extended)?;
        // What the visitor did not read must not count as part of the next header.
        io::copy(&mut entry, &mut io::sink()).map_err(UnpackError::ReadLayer)?;
    }
}

/// Where an entry belongs, seen from the root of the image.
pub fn path_of(entry: &Entry<'_, '_>, extended: &Extended) -> Result<PathBuf, UnpackError> {
    let named = extended.sparse.as_ref().and_then(|map| map.name.clone());
    let path = named.unwrap_or_else(|| PathBuf::from(OsStr::from_bytes(&entry.path_bytes())));
    from_root(&path).ok_or(UnpackError::OutsideRootfs { path })
}

/// The bytes that may lie between the content of one entry and the next: headers, padding, long names.
const HEADER_LIMIT: u64 = 1 << 20;

/// A reader that fails after as many bytes as it is allowed, and keeps those of headers for a second look.
pub struct Bounded<'layer> {
    inner: Box<dyn Read + 'layer>,
    watch: Rc<Watch>,
}

/// What the reader does with bytes, while the tar reader owns it.
#[derive(Default)]
struct Watch {
    allowance: Cell<u64>,
    /// How much of the last block of the archive is read; all blocks have 512 bytes.
    within_block: Cell<usize>,
    recorded: RefCell<Option<Vec<u8>>>,
}

impl Watch {
    /// Keeps what is read from here on, and allows only as much of it as headers may have.
    fn start_headers(&self) {
        self.allowance.set(HEADER_LIMIT);
        self.recorded.replace(Some(Vec::new()));
    }

    /// Allows a content of that size. Returns the whole blocks that were read before it.
    fn start_content(&self, size: u64) -> Vec<u8> {
        self.allowance.set(size);
        self.recorded.take().unwrap_or_default()
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.watch.allowance.get().checked_sub(count as u64) {
            Some(left) => self.watch.allowance.set(left),
            None => return Err(io::Error::other("a header of the archive is too long")),
        }
        if let Some(recorded) = self.watch.recorded.borrow_mut().as_mut() {
            // Up to the next whole block comes what pads the last content.
            let padding = if recorded.is_empty() { (512 - self.watch.within_block.get()) % 512 } else { 0 };
            recorded.extend_from_slice(&buffer[padding.min(count)..count]);
        }
        self.watch.within_block.set((self.watch.within_block.get() + count) % 512);
        Ok(count)
    }
}
