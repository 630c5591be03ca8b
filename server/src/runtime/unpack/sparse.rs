//! Sparse files: files with holes, which read as zeros and take no disk. Archives leave the holes out and say where
//! they are, in one of four forms (GNU tar's manual, "Storing Sparse Files"). Here they become holes again.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::pax::BLOCK;

/// What the records `GNU.sparse.*` of a PAX header say of a file.
#[derive(Debug, Default)]
pub struct SparseMap {
    /// The file's own name, where the entry has one that says what it is to those who do not know sparse files.
    pub name: Option<PathBuf>,
    /// The file's size in bytes, with all holes.
    pub size: u64,
    /// Offset and length of each piece of data, in the order of the content.
    pieces: Vec<(u64, u64)>,
    /// In this form, version 1.0, the pieces are listed at the beginning of the content instead.
    listed_in_content: bool,
}

impl SparseMap {
    /// Takes a record in; its key is without `GNU.sparse.`. `None` if the value is malformed.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"name" => self.name = Some(PathBuf::from(OsString::from_vec(value.into()))),
            b"size" | b"realsize" => self.size = number(value)?,
            b"major" => self.listed_in_content = number(value)? >= 1,
            // Version 0.0: a record for each number.
            b"offset" => self.pieces.push((number(value)?, 0)),
            b"numbytes" => self.pieces.last_mut()?.1 = number(value)?,
            // Version 0.1: one record for all numbers, offsets and lengths in turn.
            b"map" => {
                let numbers = value.split(|&byte| byte == b',').map(number).collect::<Option<Vec<u64>>>()?;
                self.pieces = pairs(&numbers);
            }
            _ => {}
        }
        Some(())
    }

    /// Writes the content of an entry to a new file, each piece where it belongs.
    pub fn write(&self, content: &mut impl Read, file: &mut File) -> io::Result<()> {
        let listed = if self.listed_in_content { read_list(content)? } else { Vec::new() };
        for &(offset, length) in self.pieces.iter().chain(&listed) {
            if offset.checked_add(length).is_none_or(|end| end > self.size) {
                return Err(malformed());
            }
            // Past the end of what is written: the kernel makes a hole of all that lies between.
            file.seek(SeekFrom::Start(offset))?;
            if io::copy(&mut content.by_ref().take(length), file)? < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // A hole at the end has nothing behind it that would make it.
        file.set_len(self.size)
    }
}

/// Writes a content whose holes the tar reader has filled with zeros, as it does for the oldest form, which has its map
/// in the entry's own header. Blocks of nothing but zeros become holes again.
pub fn write_without_zeros(content: &mut impl Read, file: &mut File) -> io::Result<()> {
    let mut block = [0; 4096];
    let mut size = 0;
    loop {
        let mut length = 0;
        while length < block.len() {
            match content.read(&mut block[length..])? {
                0 => break,
                count => length += count,
            }
        }
        if block[..length].iter().any(|&byte| byte != 0) {
            file.seek(SeekFrom::Start(size))?;
            file.write_all(&block[..length])?;
        }
        size += length as u64;
        if length < block.len() {
            return file.set_len(size);
        }
    }
}

/// The most pieces that a file may have: the list of them is kept in memory.
const MAX_PIECES: u64 = 1 << 20;

/// Reads the list that version 1.0 has in the content: how many pieces there are, then offsets and lengths in turn, a
/// line for each number. Zeros fill the last block.
fn read_list(content: &mut impl Read) -> io::Result<Vec<(u64, u64)>> {
    let mut numbers = Vec::new();
    let mut line = Vec::new();
    let mut expected = 1;
    while numbers.len() < expected {
        let mut block = [0; BLOCK];
        content.read_exact(&mut block)?;
        for byte in block {
            if numbers.len() == expected {
                break;
            }
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            numbers.push(number(&line).ok_or_else(malformed)?);
            line.clear();
            if numbers[0] > MAX_PIECES {
                return Err(malformed());
            }
            expected = 1 + 2 * numbers[0] as usize;
        }
        // No number has as many digits.
        if line.len() > BLOCK {
            return Err(malformed());
        }
    }
    Ok(pairs(&numbers[1..]))
}

fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the map of a sparse file is malformed")
}
