//! Output and input whose every byte is known, to be compared with what came through a terminal.

use sha2::{Digest, Sha256};

use super::playground::{HOST, Page};

/// Numbers that look random, and come again for the same seed. It is printed, and `NEWROOT_SEED` sets it.
pub struct Random(u64);

impl Random {
    /// From a seed of the kernel, or of the environment.
    pub fn new() -> Random {
        let seed =
            std::env::var("NEWROOT_SEED").map_or_else(|_| getrandom::u64().unwrap(), |seed| seed.parse().unwrap());
        println!("NEWROOT_SEED={seed}");
        Random(seed | 1)
    }

    /// The next one.
    pub fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Bytes of every value.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// What `seq 1 LAST` shows on a terminal.
pub fn sequence(last: u32) -> Vec<u8> {
    (1..=last).flat_map(|number| format!("{number}\r\n").into_bytes()).collect()
}

/// The SHA-256 of bytes, as sha256sum(1) prints it.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The place after the first occurrence of a text.
pub fn after(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).map(|place| place + text.len())
}

/// Types a command, and waits until it has said `<start>`; returns the place in the output after that.
pub async fn start(page: &mut Page, command: &str) -> usize {
    page.until("a prompt", |page| page.has_prompt(HOST)).await;
    let before = page.output[&HOST].len();
    // The echo of the command has the word in two halves.
    page.run(HOST, &format!("stty raw -echo; printf '<st''art>'; {command}; stty sane; printf '<en''d>\\n'")).await;
    let place = |page: &Page| after(&page.output[&HOST][before..], "<start>");
    page.until("the command's start", |page| place(page).is_some()).await;
    before + place(page).unwrap()
}

/// Waits until the command that [`start`] has started has ended; returns what it has shown.
pub async fn end(page: &mut Page, from: usize) -> Vec<u8> {
    let end = |page: &Page| {
        let tail = page.output[&HOST].len().saturating_sub(200).max(from);
        after(&page.output[&HOST][tail..], "<end>").map(|end| tail + end - "<end>".len())
    };
    page.until("the command's end", |page| page.has_prompt(HOST) && end(page).is_some()).await;
    page.output[&HOST][from..end(page).unwrap()].to_vec()
}
