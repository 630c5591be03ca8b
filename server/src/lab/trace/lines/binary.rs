//! The sections of an ELF file of 64 bits (elf(5)), read one by one as they are wanted. It is our own file, and yet no
//! number in it is trusted with memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// More of a section is not read.
const LARGEST: u64 = 256 << 20;

/// A section: where it is in memory (before the program is moved) and in the file.
#[derive(Clone, Debug)]
struct Section {
    name: String,
    address: u64,
    offset: u64,
    size: u64,
}

/// An open file and the list of its sections.
pub struct Binary {
    file: File,
    sections: Vec<Section>,
}

impl Binary {
    /// Opens a file, and reads where its sections are.
    pub fn open(path: &Path) -> io::Result<Binary> {
        let file = File::open(path)?;
        let mut header = [0; 64];
        file.read_exact_at(&mut header, 0)?;
        if !header.starts_with(b"\x7fELF\x02") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (table, count, names) = (number(&header, 40, 8), number(&header, 60, 2), number(&header, 62, 2));
        let headers = read(&file, table, count * HEADER)?;
        let raw: Vec<(u64, Section)> = headers.chunks_exact(HEADER as usize).map(section).collect();
        let names = raw.get(names as usize).ok_or(io::ErrorKind::InvalidData)?.1.clone();
        let names = read(&file, names.offset, names.size)?;
        let named = raw.into_iter().map(|(name, section)| {
            let bytes = names.get(name as usize..).unwrap_or_default().split(|&byte| byte == 0).next();
            Section { name: String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned(), ..section }
        });
        Ok(Binary { sections: named.collect(), file })
    }

    /// The content of a section; nothing where there is none of that name.
    pub fn section(&self, name: &str) -> io::Result<Vec<u8>> {
        match self.find(name) {
            Some(section) => read(&self.file, section.offset, section.size),
            None => Ok(Vec::new()),
        }
    }

    /// The addresses of a section.
    pub fn addresses(&self, name: &str) -> Option<Range<u64>> {
        self.find(name).map(|section| section.address..section.address.saturating_add(section.size))
    }

    fn find(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// Bytes of a section header.
const HEADER: u64 = 64;

/// Its name's place among the names, and itself.
fn section(header: &[u8]) -> (u64, Section) {
    let (address, offset, size) = (number(header, 16, 8), number(header, 24, 8), number(header, 32, 8));
    (number(header, 0, 4), Section { name: String::new(), address, offset, size })
}

fn number(bytes: &[u8], start: usize, size: usize) -> u64 {
    let bytes = bytes.get(start..start + size).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn read(file: &File, offset: u64, size: u64) -> io::Result<Vec<u8>> {
    if size > LARGEST || size > file.metadata()?.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_has_its_sections_and_what_is_none_is_refused() {
        let own = Binary::open(Path::new("/proc/self/exe")).expect("an ELF file");
        let text = own.addresses(".text").expect("code");
        assert_eq!(own.section(".text").expect("read").len() as u64, text.end - text.start);
        assert!(own.section(".eh_frame").is_ok_and(|bytes| !bytes.is_empty()));
        assert!(own.section(".nothing").is_ok_and(|bytes| bytes.is_empty()));
        assert!(Binary::open(Path::new("/etc/passwd")).is_err() && Binary::open(Path::new("/")).is_err());
    }
}
