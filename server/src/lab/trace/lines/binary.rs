//! The sections of an ELF file of 64 bits (elf(5)). It is our own file, and yet no number in it is trusted.

use std::io;
use std::ops::Range;

use crate::sys;

/// A section: where it is in memory (before the program is moved), and what is in it.
struct Section {
    name: &'static [u8],
    address: u64,
    content: &'static [u8],
}

/// The sections of this program.
pub struct Binary(Vec<Section>);

impl Binary {
    /// Finds the sections of the program that this process is executed from. They are read as they are looked at, and
    /// all processes share what was read.
    pub fn own() -> io::Result<Binary> {
        Binary::parse(sys::own_program()?).ok_or(io::ErrorKind::InvalidData.into())
    }

    fn parse(file: &'static [u8]) -> Option<Binary> {
        if !file.starts_with(b"\x7fELF\x02") {
            return None;
        }
        let (table, count, names) = (number(file, 40, 8)?, number(file, 60, 2)?, number(file, 62, 2)?);
        let headers = part(file, table, count * HEADER)?.chunks_exact(HEADER as usize);
        let content = |header| {
            let (offset, size) = (number(header, 24, 8)?, number(header, 32, 8)?);
            // One without content in the file is as good as empty.
            Some(part(file, offset, size).unwrap_or_default())
        };
        let names = content(headers.clone().nth(names as usize)?)?;
        let sections = headers.map(|header| {
            let name = names.get(number(header, 0, 4)? as usize..)?.split(|&byte| byte == 0).next()?;
            Some(Section { name, address: number(header, 16, 8)?, content: content(header)? })
        });
        Some(Binary(sections.collect::<Option<_>>()?))
    }

    /// The content of a section; nothing where there is none of that name.
    pub fn section(&self, name: &str) -> &'static [u8] {
        self.find(name).map_or(&[], |section| section.content)
    }

    /// The addresses of a section.
    pub fn addresses(&self, name: &str) -> Option<Range<u64>> {
        self.find(name).map(|section| section.address..section.address.saturating_add(section.content.len() as u64))
    }

    fn find(&self, name: &str) -> Option<&Section> {
        self.0.iter().find(|section| section.name == name.as_bytes())
    }
}

/// Bytes of a section header.
const HEADER: u64 = 64;

fn number(bytes: &[u8], start: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(start..start + size)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn part(bytes: &'static [u8], offset: u64, size: u64) -> Option<&'static [u8]> {
    let (offset, size) = (usize::try_from(offset).ok()?, usize::try_from(size).ok()?);
    bytes.get(offset..offset.checked_add(size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_has_its_sections_and_what_is_none_is_refused() {
        let own = Binary::own().expect("an ELF file");
        let text = own.addresses(".text").expect("code");
        assert!(text.contains(&(text.start + own.section(".text").len() as u64 - 1)));
        assert!(!own.section(".eh_frame").is_empty());
        assert!(own.section(".nothing").is_empty() && own.addresses(".nothing").is_none());
        assert!(Binary::parse(b"").is_none() && Binary::parse(b"#!/bin/sh\n").is_none());
        let cut_off = &sys::own_program().expect("the same")[..4096];
        assert!(Binary::parse(cut_off).is_none(), "its list of sections is at the end");
    }
}
