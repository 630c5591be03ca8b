//! zstd (RFC 8878) as a stream. A layer may be made of many frames, one after the other, and of frames that are to be
//! skipped: some tools put a table of contents there.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How far back in its content a frame may refer, in bytes: as much stays in memory. It is the limit of the zstd program
/// too, if it is not told otherwise.
const WINDOW_LIMIT: u64 = 128 << 20;

/// A reader of what a zstd stream contains.
pub struct ZstdReader<R> {
    source: BufReader<R>,
    decoder: FrameDecoder,
}

impl<R: Read> ZstdReader<R> {
    /// Reads nothing yet.
    pub fn new(source: R) -> ZstdReader<R> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_LIMIT);
        ZstdReader { source: BufReader::new(source), decoder }
    }

    /// Begins the next frame, or skips it. Returns false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.decoder.reset(&mut self.source) {
            Ok(()) => Ok(true),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
                if skipped == length { Ok(true) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl<R: Read> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if !self.decoder.is_finished() {
                // A block has 128 KiB at most, so memory stays bounded by the window.
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of one raw block (RFC 8878, sections 3.1.1.1 and 3.1.1.2), with the window given by its exponent.
    fn frame(content: &[u8], window_exponent: u8) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window_exponent << 3];
        frame.extend(&((content.len() as u32) << 3 | 1).to_le_bytes()[..3]);
        frame.extend(content);
        frame
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        ZstdReader::new(bytes).read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn frames_follow_each_other_and_some_are_skipped() {
        let skipped = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let stream = [&skipped[..], &frame(b"one ", 0), &frame(b"", 0), &skipped, &frame(b"two", 0), &skipped].concat();
        assert_eq!(read(&stream).expect("a good stream"), b"one two");
        assert_eq!(read(b"").expect("nothing"), b"");
        for cut in [stream.len() - 1, skipped.len() + 12, skipped.len() + 3] {
            assert!(read(&stream[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_window_larger_than_the_limit_is_refused() {
        // The window is two to the power of the exponent and ten: 128 MiB, and 256.
        assert_eq!(read(&frame(b"x", 17)).expect("at the limit"), b"x");
        assert!(read(&frame(b"x", 18)).is_err());
    }
}
