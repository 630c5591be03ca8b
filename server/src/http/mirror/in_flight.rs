//! The bytes of answers that are in memory until a connection takes them: bounded for each lab, and for all.

use axum::body::Bytes;
use futures_util::FutureExt;

use super::super::connections::{Share, Taken};
use crate::defence::{Defence, Defences};

/// What a lab has in any case, in KiB; then none of the others can hold up its pulls.
const OWN: u32 = 512;
/// What it has at most: more than the largest manifest.
const MOST: u32 = 8 << 10;
/// What all have together, beyond what each has in any case.
const POOL: u32 = 64 << 10;

/// What one lab may have in memory.
#[derive(Clone)]
pub struct InFlight(Option<Share>);

impl InFlight {
    /// Makes one lab's after the other.
    pub fn of_pool(defences: Defences) -> impl Fn() -> InFlight {
        let share = Share::of_pool(OWN, MOST, POOL);
        move || InFlight(defences.stand(Defence::MirrorBytes).then(&share))
    }

    /// Waits until so many more may be there.
    pub async fn take(&self, bytes: u64) -> Option<Taken> {
        let kibibytes = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        Some(self.0.as_ref()?.take(kibibytes).await)
    }

    /// The bytes, if they may be there now. They count until the last copy of them is dropped: by then the kernel has them.
    pub fn count(&self, bytes: Vec<u8>) -> Option<Bytes> {
        let taken = self.take(bytes.len() as u64).now_or_never()?;
        Some(counted(bytes, taken))
    }
}

/// Bytes for which there is room.
pub fn counted(bytes: impl AsRef<[u8]> + Send + 'static, room: Option<Taken>) -> Bytes {
    Bytes::from_owner(Counted { bytes, _room: room })
}

struct Counted<B> {
    bytes: B,
    _room: Option<Taken>,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Counted<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}
