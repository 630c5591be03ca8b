//! Reading the memory of a program while it waits in a call: bounded, and nothing that it finds there is believed. Another
//! thread may change what was read before the kernel reads it, so it is for people to see, and for nothing else.

use std::fmt;
use std::io::IoSliceMut;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use shared::plain::is_odd;

use crate::runtime::printable;

/// The longest path that the kernel takes, with its zero byte (path_resolution(7)).
pub const LONGEST: usize = 4096;
/// As many characters of a text are shown.
const SHOWN: usize = 256;
/// The smallest page of memory: what is readable is readable to the end of one.
const PAGE: u64 = 4096;

/// A string of a program's, as its pointer leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// The pointer is NULL.
    Null,
    /// Its bytes, without the zero byte at the end.
    Is(Vec<u8>),
    /// Its first [`LONGEST`] bytes, among which no zero byte is: longer than the kernel takes.
    TooLong(Vec<u8>),
    /// Nothing can be read there, or not up to a zero byte.
    Unreadable(u64),
}

impl Text {
    /// Reads a string that ends with a zero byte.
    pub fn read(thread: Pid, address: u64) -> Text {
        if address == 0 {
            return Text::Null;
        }
        let mut found = bytes(thread, address, LONGEST);
        match found.iter().position(|&byte| byte == 0) {
            Some(end) => {
                found.truncate(end);
                Text::Is(found)
            }
            None if found.len() == LONGEST => Text::TooLong(found),
            None => Text::Unreadable(address),
        }
    }

    /// Reads a string of a known length.
    pub fn of_length(thread: Pid, address: u64, length: u64) -> Text {
        let wanted = length.min(LONGEST as u64) as usize;
        let found = bytes(thread, address, wanted);
        match found.len() == wanted {
            true if length > LONGEST as u64 => Text::TooLong(found),
            true => Text::Is(found),
            false => Text::Unreadable(address),
        }
    }

    /// The string, where there is a whole one.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Text::Is(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The string for reading; bytes that are no text as U+FFFD.
    pub fn text(&self) -> Option<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// As a C programmer would write it.
impl fmt::Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text::Null => out.write_str("NULL"),
            Text::Is(bytes) => out.write_str(&quoted(bytes)),
            Text::TooLong(bytes) => write!(out, "{} (longer than the kernel takes)", quoted(bytes)),
            Text::Unreadable(address) => write!(out, "{address:#x} (cannot be read)"),
        }
    }
}

/// Quotes text of a program's: what would move the cursor, turn the line around or not be seen is escaped.
pub fn quoted(bytes: &[u8]) -> String {
    let mut quoted = String::from('"');
    let mut count = 0;
    'whole: for chunk in bytes.utf8_chunks() {
        let escapes = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        for piece in chunk.valid().chars().map(escaped).chain(escapes) {
            if count == SHOWN {
                quoted.push('…');
                break 'whole;
            }
            count += 1;
            quoted.push_str(&piece);
        }
    }
    quoted.push('"');
    quoted
}

fn escaped(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => printable(c),
        c if is_odd(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    }
}

/// Up to `most` bytes from an address on: fewer where memory ends before (process_vm_readv(2)).
pub fn bytes(thread: Pid, address: u64, most: usize) -> Vec<u8> {
    let Some(end) = address.checked_add(most as u64) else { return Vec::new() };
    // A piece is read whole or not at all, so no piece goes over the end of a page.
    let mut pieces = Vec::new();
    let mut start = address;
    while start < end {
        let next = ((start / PAGE + 1).saturating_mul(PAGE)).min(end);
        pieces.push(RemoteIoVec { base: start as usize, len: (next - start) as usize });
        start = next;
    }
    let mut buffer = vec![0; most];
    let read = process_vm_readv(thread, &mut [IoSliceMut::new(&mut buffer)], &pieces).unwrap_or(0);
    buffer.truncate(read);
    buffer
}

/// Up to `most` pointers from an address on.
pub fn words(thread: Pid, address: u64, most: usize) -> Vec<u64> {
    let bytes = bytes(thread, address, most * size_of::<u64>());
    bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_from_memory_up_to_its_end_and_not_beyond_what_is_there() {
        let here = nix::unistd::getpid();
        let read = |text: &[u8]| Text::read(here, text.as_ptr() as u64);
        assert_eq!(read(b"/mnt\0rest"), Text::Is(b"/mnt".to_vec()));
        assert!(matches!(read(&vec![b'x'; 64 << 10]), Text::TooLong(bytes) if bytes.len() == LONGEST));
        assert_eq!(Text::read(here, 0), Text::Null);
        for nowhere in [8, u64::MAX, 1 << 47] {
            assert_eq!(Text::read(here, nowhere), Text::Unreadable(nowhere));
        }
        assert_eq!(Text::of_length(here, b"lab".as_ptr() as u64, 2), Text::Is(b"la".to_vec()));
        let words_there = [7_u64, 0, 9];
        assert_eq!(words(here, words_there.as_ptr() as u64, 3), words_there);
    }

    #[test]
    fn what_a_program_says_is_shown_without_doing_anything() {
        assert_eq!(quoted(b"a\"b\\\n\x1b[31m"), r#""a\"b\\\n\x1b[31m""#);
        assert_eq!(quoted("ä\u{202e}\u{9b}".as_bytes()), r#""ä\u202e\u009b""#);
        assert_eq!(quoted(b"\xff"), r#""\xff""#);
        assert_eq!(quoted(&[b'x'; 1000]).chars().count(), SHOWN + 3);
    }
}
