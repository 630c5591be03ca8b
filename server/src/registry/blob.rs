//! A blob's content as it is served: all at hand, or still arriving from the upstream.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio::sync::watch;

use super::error::StoreError;
use super::room::Reader;

/// A blob's content.
pub enum Blob {
    /// Part of this binary.
    Embedded(Cow<'static, [u8]>),
    /// A file, whole and verified.
    Kept {
        /// The file.
        reader: Reader,
        /// In bytes.
        size: u64,
    },
    /// A file that grows.
    Arriving(Arriving),
}

/// A blob that is being fetched. Any number of readers follow the one file, each with one of these: where there is none
/// any more, nobody waits for the blob.
pub struct Arriving {
    /// What has arrived so far, and a little that may not be read yet.
    pub reader: Reader,
    /// Changes with each piece that arrives.
    pub progress: watch::Receiver<Progress>,
}

/// How far a blob has arrived.
#[derive(Clone, Default)]
pub struct Progress {
    /// How many bytes the upstream says it has.
    pub size: Option<u64>,
    /// How many bytes may be read. The last one is among them only when the digest of all has been verified: so nobody ever
    /// gets the whole of something wrong.
    pub readable: u64,
    /// How it has ended.
    pub outcome: Option<Result<(), Arc<StoreError>>>,
}

impl Blob {
    /// Its size in bytes; `None` if it is arriving, and the upstream has not told.
    pub fn size(&self) -> Option<u64> {
        match self {
            Blob::Embedded(bytes) => Some(bytes.len() as u64),
            Blob::Kept { size, .. } => Some(*size),
            Blob::Arriving(arriving) => {
                let progress = arriving.progress.borrow();
                // What is complete has the size it has, whatever was said.
                if matches!(progress.outcome, Some(Ok(()))) { Some(progress.readable) } else { progress.size }
            }
        }
    }

    /// Waits until the first bytes can be read, or it is known why there will be none.
    pub async fn started(&self) -> Result<(), Arc<StoreError>> {
        let Blob::Arriving(arriving) = self else { return Ok(()) };
        let progress = arriving.until(0).await.map_err(|_| StoreError::Interrupted)?;
        match progress.outcome {
            Some(Err(error)) if progress.readable == 0 => Err(error),
            _ => Ok(()),
        }
    }

    /// The bytes from a place on: at least one and at most `most`; none at the end of the blob. Waits for those that have
    /// not arrived.
    pub async fn read(&self, from: u64, most: u64) -> io::Result<Vec<u8>> {
        match self {
            Blob::Embedded(bytes) => {
                let end = from.saturating_add(most).min(bytes.len() as u64);
                Ok(bytes.get(from as usize..end as usize).unwrap_or_default().to_vec())
            }
            Blob::Kept { reader, size } => read_at(reader.file()?, from, most.min(size.saturating_sub(from))).await,
            Blob::Arriving(arriving) => {
                let progress = arriving.until(from).await.map_err(|_| io::Error::other(StoreError::Interrupted))?;
                match (progress.readable.saturating_sub(from), progress.outcome) {
                    (0, Some(Err(error))) => Err(io::Error::other(error)),
                    (0, _) => Ok(Vec::new()),
                    (there, _) => read_at(arriving.reader.file()?, from, most.min(there)).await,
                }
            }
        }
    }
}

impl Arriving {
    /// Waits until the byte at `place` can be read, or none will arrive any more.
    async fn until(&self, place: u64) -> Result<Progress, watch::error::RecvError> {
        let mut progress = self.progress.clone();
        progress.wait_for(|now| now.readable > place || now.outcome.is_some()).await.map(|now| now.clone())
    }
}

/// Reads so many bytes, or up to the end of the file where that comes first: then the file was cut short meanwhile, and
/// the client is told by an error.
async fn read_at(file: Arc<File>, from: u64, count: u64) -> io::Result<Vec<u8>> {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; count as usize];
        file.read_exact_at(&mut bytes, from).map(|()| bytes)
    });
    read.await.map_err(io::Error::other)?
}
