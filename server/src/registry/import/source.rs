//! The files of what is imported, by name: in a directory, or in a tar archive, which is never unpacked. So no name in it,
//! however hostile, becomes a path.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::super::content::Content;
use super::ImportError;

/// Files by name.
pub enum Source {
    /// Those below a directory. Only names that are safe as paths may be asked for.
    Directory(PathBuf),
    /// Those in an archive.
    Archive {
        /// The archive, not compressed.
        file: Arc<File>,
        /// What is in it.
        entries: HashMap<String, Entry>,
    },
}

/// Something in an archive.
pub enum Entry {
    /// A file: where its content begins, and how long it is.
    File(u64, u64),
    /// A link to this name.
    Link(String),
}

/// The most that a compressed archive may become, in bytes.
const BOMB: u64 = 64 << 30;

/// The most files an archive may have; real ones have hundreds.
const MOST_ENTRIES: usize = 100_000;

impl Source {
    /// Opens a directory or an archive. What is compressed is first written out to a file without a name.
    pub fn open(path: &Path, content: &Content) -> Result<Source, ImportError> {
        let failed = |source| ImportError::Open { path: path.to_owned(), source };
        let mut file = open_file(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Ok(Source::Directory(path.to_owned()));
        }
        let mut magic = [0; 2];
        let is_gzip = file.read_exact_at(&mut magic, 0).is_ok_and(|()| magic == [0x1f, 0x8b]);
        if is_gzip {
            let unpacked = content.new_blob()?.into_file();
            let mut limited = MultiGzDecoder::new(BufReader::new(file)).take(BOMB);
            let archive = |source: io::Error| match source.kind() {
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    ImportError::Archive { path: path.to_owned(), source }
                }
                _ => ImportError::Copy { name: path.display().to_string(), source },
            };
            if io::copy(&mut limited, &mut &unpacked).map_err(archive)? == BOMB {
                return Err(ImportError::Bomb { path: path.to_owned(), limit: BOMB });
            }
            file = unpacked;
            file.rewind().map_err(archive)?;
        }
        let entries = entries(path, &file)?;
        Ok(Source::Archive { file: Arc::new(file), entries })
    }

    /// A file; `None` if there is no such file.
    pub fn part(&self, name: &str) -> Result<Option<Part>, ImportError> {
        match self {
            Source::Directory(directory) => {
                let path = directory.join(name);
                let opened = open_file(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
                match opened {
                    Ok((file, metadata)) if metadata.is_file() => {
                        Ok(Some(Part { file: Arc::new(file), at: 0, left: metadata.len() }))
                    }
                    Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ImportError::Open { path, source }),
                    _ => Ok(None),
                }
            }
            Source::Archive { file, entries } => {
                let mut entry = entries.get(name);
                // A link may lead to another one; more than a few would be a circle.
                for _ in 0..8 {
                    match entry {
                        Some(Entry::Link(target)) => entry = entries.get(target),
                        Some(Entry::File(at, left)) => {
                            return Ok(Some(Part { file: file.clone(), at: *at, left: *left }));
                        }
                        None => return Ok(None),
                    }
                }
                Ok(None)
            }
        }
    }

    /// All of a small file.
    pub fn bytes(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ImportError> {
        let Some(mut part) = self.part(name)? else { return Ok(None) };
        if part.left > limit {
            return Err(ImportError::TooLarge { name: name.to_owned(), limit });
        }
        let mut bytes = Vec::new();
        let read = part.read_to_end(&mut bytes);
        read.map(|_| Some(bytes)).map_err(|source| ImportError::Copy { name: name.to_owned(), source })
    }
}

/// A file of a source, to be read from its beginning.
pub struct Part {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Part {
    /// How many bytes are left to be read.
    pub fn size(&self) -> u64 {
        self.left
    }

    /// The first bytes, without reading on.
    pub fn starts_with(&self, magic: &[u8]) -> bool {
        let mut start = vec![0; magic.len()];
        self.left >= magic.len() as u64 && self.file.read_exact_at(&mut start, self.at).is_ok_and(|()| start == magic)
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        // An archive that was cut short has less than it says.
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.at, self.left) = (self.at + count as u64, self.left - count as u64);
        Ok(count)
    }
}

/// Writes down whatever is read through it.
pub struct Copy<'a, R, W> {
    from: &'a mut R,
    to: &'a mut W,
}

impl<'a, R, W> Copy<'a, R, W> {
    /// Reads from one, and writes to the other.
    pub fn new(from: &'a mut R, to: &'a mut W) -> Copy<'a, R, W> {
        Copy { from, to }
    }
}

impl<R: Read, W: Write> Read for Copy<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count]).map(|()| count)
    }
}

/// Opens what is there, without waiting for the other end of a FIFO.
fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn entries(path: &Path, file: &File) -> Result<HashMap<String, Entry>, ImportError> {
    let failed = |source| ImportError::Archive { path: path.to_owned(), source };
    let mut archive = Archive::new(file);
    let mut entries = HashMap::new();
    // Raw: long names, which the tar crate would read into memory whatever their length, are not needed. Names in images
    // have less than a hundred bytes.
    for entry in archive.entries_with_seek().map_err(failed)?.raw(true) {
        let entry = entry.map_err(failed)?;
        if entries.len() == MOST_ENTRIES {
            return Err(ImportError::Entries { path: path.to_owned(), limit: MOST_ENTRIES });
        }
        let Some(name) = std::str::from_utf8(&entry.path_bytes()).ok().and_then(|name| resolve("", name)) else {
            continue;
        };
        let link = |from: &str| {
            let target = entry.link_name_bytes()?;
            resolve(from, std::str::from_utf8(&target).ok()?).map(Entry::Link)
        };
        let kind = entry.header().entry_type();
        let found = match kind {
            EntryType::Regular | EntryType::Continuous => {
                Some(Entry::File(entry.raw_file_position(), entry.header().entry_size().map_err(failed)?))
            }
            // `docker save` wrote a layer that two images share as a link once.
            EntryType::Symlink => link(name.rsplit_once('/').map_or("", |(directory, _)| directory)),
            EntryType::Link => link(""),
            _ => None,
        };
        entries.extend(found.map(|found| (name, found)));
    }
    Ok(entries)
}

/// A name in an archive, seen from a directory in it, without `.` and `..`; `None` if it leads out.
fn resolve(directory: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!name.starts_with('/') && !parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn names_stay_in_the_archive() {
        assert_eq!(resolve("", "./blobs/sha256/x").as_deref(), Some("blobs/sha256/x"));
        assert_eq!(resolve("a", "../b/layer.tar").as_deref(), Some("b/layer.tar"));
        for (directory, name) in [("", "../x"), ("a", "../../x"), ("", "/etc/passwd"), ("", "."), ("a", "..")] {
            assert_eq!(resolve(directory, name), None, "{directory:?} {name:?}");
        }
    }
}
