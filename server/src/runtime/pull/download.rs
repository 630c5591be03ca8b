//! Downloads a blob (a layer, or the configuration) into a file, in several goes where the connection is cut. What is
//! done with the file is in `layers` and `configuration`.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};

use futures_util::StreamExt;
use oci_client::client::BlobResponse;
use sha2::{Digest, Sha256};

use super::super::error::PullError;
use super::super::printable::printable;
use super::connection::{Connection, innermost};
use super::place::Scratch;
use super::retry::Patience;

/// What a blob is in its image, and its digest.
#[derive(Clone, Debug)]
pub enum Blob {
    /// A part of the rootfs.
    Layer(String),
    /// How the image wants to be run.
    Configuration(String),
}

impl Blob {
    fn digest(&self) -> &str {
        let (Blob::Layer(digest) | Blob::Configuration(digest)) = self;
        digest
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blob::Layer(digest) => write!(formatter, "layer {}", printable(digest)),
            Blob::Configuration(digest) => write!(formatter, "configuration {}", printable(digest)),
        }
    }
}

// step: download-layer
/// Downloads a blob of `size` bytes into a file. It can be larger than the memory, so it goes from the network straight
/// to disk; and no byte of it is used before all have arrived and their digest is that of the manifest.
pub async fn download(
    connection: &Connection,
    blob: Blob,
    size: i64,
    scratch: &Scratch,
    on_arrival: impl Fn(u64),
) -> Result<File, PullError> {
    let size = u64::try_from(size).map_err(|_| PullError::BlobSize { blob: blob.clone(), expected: 0 })?;
    let file = scratch.file().map_err(|source| PullError::WriteBlob { blob: blob.clone(), source })?;
    let mut download = Download { blob, file, arrived: 0, size, digest: Sha256::new(), on_arrival };
    let mut patience = Patience::default();
    // Each try goes on where the one before it was cut off.
    while let Err(error) = download.fetch_rest(connection).await {
        patience.wait_after(error).await?;
    }
    download.verify()
}

/// A blob of which a part, or all, has arrived.
struct Download<F> {
    blob: Blob,
    file: File,
    arrived: u64,
    size: u64,
    /// Of what has arrived. It goes along with the bytes, so that they need not be read once more.
    digest: Sha256,
    on_arrival: F,
}

impl<F: Fn(u64)> Download<F> {
    /// Asks for the bytes that are missing, and writes them down as they come.
    async fn fetch_rest(&mut self, connection: &Connection) -> Result<(), PullError> {
        // The digest alone, without the other addresses a manifest may name: those could be anybody's.
        let digest = self.blob.digest();
        let request = connection.client.pull_blob_stream_partial(&connection.reference, digest, self.arrived, None);
        let mut stream = match request.await.map_err(|error| connection.explain(error))? {
            BlobResponse::Partial(stream) => stream,
            // Not every registry sends parts. This one has begun from the start, and so must we.
            BlobResponse::Full(stream) => {
                self.forget()?;
                stream
            }
        };
        while self.arrived < self.size {
            let bytes = stream.next().await.ok_or_else(|| self.wrong_size())?;
            let bytes =
                bytes.map_err(|error| PullError::Download { blob: self.blob.clone(), reason: innermost(&error) })?;
            self.arrived += bytes.len() as u64;
            if self.arrived > self.size {
                return Err(self.wrong_size());
            }
            self.digest.update(&bytes);
            self.file.write_all(&bytes).map_err(|source| self.not_written(source))?;
            (self.on_arrival)(self.arrived);
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<(), PullError> {
        self.arrived = 0;
        self.digest = Sha256::new();
        let emptied = self.file.rewind().and_then(|()| self.file.set_len(0));
        emptied.map_err(|source| self.not_written(source))
    }

    /// The file, if it has what the manifest promises.
    fn verify(mut self) -> Result<File, PullError> {
        let hex: String = self.digest.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect();
        let actual = format!("sha256:{hex}");
        if actual != self.blob.digest() {
            return Err(PullError::BlobDigest { blob: self.blob, actual });
        }
        self.file.rewind().map_err(|source| self.not_written(source))?;
        Ok(self.file)
    }

    fn wrong_size(&self) -> PullError {
        PullError::BlobSize { blob: self.blob.clone(), expected: self.size }
    }

    fn not_written(&self, source: io::Error) -> PullError {
        PullError::WriteBlob { blob: self.blob.clone(), source }
    }
}
