//! Downloads a layer into a file, in several goes where the connection is cut. What is done with the file is in `pull`.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::PathBuf;

use futures_util::StreamExt;
use oci_client::client::BlobResponse;
use oci_client::manifest::OciDescriptor;
use sha2::{Digest, Sha256};

use super::super::error::PullError;
use super::connection::Connection;
use super::place::Place;
use super::retry::retry;

// step: download-layer
/// Downloads a layer into a file. A layer can be larger than the memory, so it goes from the network straight to disk;
/// and no byte of it is used before all have arrived and their digest is that of the manifest.
pub async fn download(connection: &Connection, layer: &OciDescriptor, place: &Place) -> Result<File, PullError> {
    let mut download = Download::start(layer, place)?;
    // Each try goes on where the one before it was cut off.
    retry(async || download.fetch_rest(connection).await).await?;
    download.verify()
}

/// A layer of which a part, or all, has arrived.
struct Download<'layer> {
    layer: &'layer OciDescriptor,
    file: File,
    path: PathBuf,
    arrived: u64,
    size: u64,
    /// Of what has arrived. It goes along with the bytes, so that they need not be read once more.
    digest: Sha256,
}

impl<'layer> Download<'layer> {
    fn start(layer: &'layer OciDescriptor, place: &Place) -> Result<Download<'layer>, PullError> {
        let size = u64::try_from(layer.size)
            .map_err(|_| PullError::LayerSize { digest: layer.digest.clone(), expected: 0 })?;
        let (file, path) = place.layer_file()?;
        Ok(Download { layer, file, path, arrived: 0, size, digest: Sha256::new() })
    }

    /// Asks for the bytes that are missing, and writes them down as they come.
    async fn fetch_rest(&mut self, connection: &Connection) -> Result<(), PullError> {
        // The digest alone, without the other addresses a manifest may name: those could be anybody's.
        let digest = self.layer.digest.as_str();
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
            let bytes = bytes.map_err(|source| PullError::Download { digest: self.layer.digest.clone(), source })?;
            self.arrived += bytes.len() as u64;
            if self.arrived > self.size {
                return Err(self.wrong_size());
            }
            self.digest.update(&bytes);
            self.file.write_all(&bytes).map_err(|source| PullError::WriteLayer { path: self.path.clone(), source })?;
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<(), PullError> {
        self.arrived = 0;
        self.digest = Sha256::new();
        let emptied = self.file.rewind().and_then(|()| self.file.set_len(0));
        emptied.map_err(|source| PullError::WriteLayer { path: self.path.clone(), source })
    }

    /// The file, if it has what the manifest promises.
    fn verify(mut self) -> Result<File, PullError> {
        let hex: String = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let actual = format!("sha256:{hex}");
        if actual != self.layer.digest {
            return Err(PullError::LayerDigest { digest: self.layer.digest.clone(), actual });
        }
        self.file.rewind().map_err(|source| PullError::WriteLayer { path: self.path, source })?;
        Ok(self.file)
    }

    fn wrong_size(&self) -> PullError {
        PullError::LayerSize { digest: self.layer.digest.clone(), expected: self.size }
    }
}
