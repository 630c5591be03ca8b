//! The last bytes of a terminal's output, addressed by their place in the whole of it.

use std::collections::VecDeque;

use shared::protocol::Offset;

/// How many bytes are kept: enough to draw a screen and some history again, and more than a window.
pub const CAPACITY: usize = 256 * 1024;

/// How far a line is looked for from which a page may begin in the middle of the output.
const LINE: usize = 4096;

/// Bytes `start..end` of an output whose older bytes are forgotten.
#[derive(Debug, Default)]
pub struct Ring {
    bytes: VecDeque<u8>,
    start: u64,
}

impl Ring {
    /// The place of the oldest byte kept.
    pub fn start(&self) -> Offset {
        Offset(self.start)
    }

    /// The place after the newest byte: where output goes on.
    pub fn end(&self) -> Offset {
        Offset(self.start + self.bytes.len() as u64)
    }

    /// Where a page begins that has nothing: at the start, or where that has been forgotten with the next line, so
    /// that no half of a character or of an escape sequence is shown.
    pub fn beginning(&self) -> Offset {
        let newline = match self.start {
            0 => None,
            _ => self.bytes.iter().take(LINE).position(|&byte| byte == b'\n'),
        };
        Offset(self.start + newline.map_or(0, |place| place as u64 + 1))
    }

    /// Adds output, forgetting the oldest.
    pub fn push(&mut self, output: &[u8]) {
        self.bytes.extend(output);
        let excess = self.bytes.len().saturating_sub(CAPACITY);
        self.bytes.drain(..excess);
        self.start += excess as u64;
    }

    /// At most `limit` bytes from `offset` on, which must lie between start and end; else nothing.
    pub fn read(&self, offset: Offset, limit: usize) -> Vec<u8> {
        let Some(skip) = offset.0.checked_sub(self.start).map(|skip| skip as usize) else { return Vec::new() };
        let end = self.bytes.len().min(skip.saturating_add(limit));
        self.bytes.range(skip.min(end)..end).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_knows_their_place() {
        let mut ring = Ring::default();
        let output: Vec<u8> = (0..CAPACITY * 2 + 7).map(|n| n as u8).collect();
        for part in output.chunks(1000) {
            ring.push(part);
        }
        assert_eq!(ring.end(), Offset(output.len() as u64));
        assert_eq!(ring.start(), Offset((output.len() - CAPACITY) as u64));
        assert_eq!(ring.read(Offset(output.len() as u64 - 5), 3), output[output.len() - 5..output.len() - 2]);
        assert!(ring.read(Offset(0), 10).is_empty(), "forgotten");
        assert!(ring.read(ring.end(), 10).is_empty(), "not yet there");
        assert!(ring.read(Offset(u64::MAX), usize::MAX).is_empty(), "nobody's");
    }

    #[test]
    fn a_page_begins_with_a_whole_line_where_the_start_is_forgotten() {
        let mut ring = Ring::default();
        ring.push(b"a line\n");
        assert_eq!(ring.beginning(), Offset(0), "nothing is forgotten yet");
        ring.push(&b"0123456\n".repeat(CAPACITY / 8));
        assert_eq!(ring.start(), Offset(7));
        assert_eq!(ring.beginning(), Offset(15));
        ring.push(&b"x".repeat(CAPACITY));
        assert_eq!(ring.beginning(), ring.start(), "there is no line to be seen");
    }
}
