//! Pulls an image: asks a registry for its manifest, fetches the layers that the manifest lists, and has them laid over
//! each other (by `unpack`). Speaks the OCI distribution protocol through oci-client.

mod choice;
mod configuration;
mod connection;
mod download;
mod hint;
mod interruption;
mod layers;
mod place;
mod retry;
mod room;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;

use self::choice::manifest_for;
use self::configuration::{check_kept, keep_configuration};
use self::connection::{Connection, connect};
pub use self::connection::{client, innermost};
pub use self::download::Blob;
use self::interruption::Interruption;
use self::layers::{AT_ONCE, Wanted, fetch};
use self::place::Place;
use self::room::Room;
use super::error::{PullError, UnpackError};
use super::options::PullOptions;
use super::platform::Platform;
use super::progress::Progress;
use super::rootfs::Rootfs;
use super::unpack::{LeftOut, Limits, lay};

/// What a pull has done.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The rootfs is new.
    Done {
        /// Where it is.
        rootfs: PathBuf,
        /// What of the image only a privileged root could have made.
        left_out: LeftOut,
    },
    /// The rootfs was there already, from this very manifest.
    AlreadyThere {
        /// Where it is.
        rootfs: PathBuf,
        /// The manifest's digest.
        digest: String,
    },
}

/// Pulls an image into its directory below `options.fs`. Whenever it fails or is stopped by a signal, it takes away what
/// it has begun; a pull that is killed leaves that to the next one.
pub fn pull(options: &PullOptions, progress: &Progress) -> Result<Pulled, PullError> {
    let connection = connect(options)?;
    let place = Place::lock(&options.image, &options.fs, options.open)?;
    let mut room = Room::below(place.directory());
    // Threads for the layers that are on their way; this one unpacks.
    let mut tokio = tokio::runtime::Builder::new_multi_thread();
    let tokio = tokio.worker_threads(AT_ONCE).enable_all().build().map_err(PullError::Tokio)?;
    let result = tokio.block_on(async {
        let interruption = Interruption::watch().map_err(PullError::Tokio)?;
        let platform = options.platform.clone().unwrap_or_else(Platform::here);
        let result = tokio::select! {
            result = fetch_and_unpack(&connection, &place, &platform, &mut room, progress, &interruption) => result,
            signal = interruption.wait() => return Err(PullError::Interrupted { signal }),
        };
        match (result, interruption.signal()) {
            (Ok(pulled), _) => Ok(pulled),
            // It is why a layer could not be read on.
            (Err(_), Some(signal)) => Err(PullError::Interrupted { signal }),
            (Err(error), None) => Err(hint::add(room.explain(error), &connection, options).await),
        }
    });
    // Who is still looking up a name or reading a layer makes nothing more on disk, and need not be waited for.
    tokio.shutdown_timeout(Duration::from_secs(1));
    result
}

// step: pull-image
/// The image's manifest, its configuration, and then its layers: fetched several at once, unpacked one by one.
async fn fetch_and_unpack(
    connection: &Connection,
    place: &Place,
    platform: &Platform,
    room: &mut Room,
    progress: &Progress,
    interruption: &Interruption,
) -> Result<Pulled, PullError> {
    let (manifest, digest) = manifest_for(connection, platform).await?;
    // A digest names content: the same digest again means that nothing can have changed.
    if place.has(&digest) {
        check_kept(connection, platform, place)?;
        return Ok(Pulled::AlreadyThere { rootfs: place.rootfs(), digest });
    }
    // Beside the rootfs, not in it: until all layers are there, the rootfs stays what it was.
    let unfinished = place.start_over()?;
    let diff_ids = keep_configuration(connection, &manifest.config, platform, place).await?;
    let of = manifest.layers.len();
    if of > MAX_LAYERS {
        return Err(PullError::TooManyLayers { layers: of });
    }
    if of != diff_ids.len() {
        return Err(PullError::LayersDiffer { layers: of, diff_ids: diff_ids.len() });
    }
    // Unpacked it will be more; and what does not even fit like this need not be downloaded.
    room.check(manifest.layers.iter().map(|layer| layer.size.max(0) as u64).fold(0, u64::saturating_add))?;
    let wanted = (1..).zip(manifest.layers).zip(diff_ids).map(|((number, descriptor), diff_id)| {
        let progress = progress.layer(number, of, &descriptor.digest, descriptor.size.max(0) as u64);
        Wanted { descriptor, diff_id, progress }
    });
    let mut layers = std::pin::pin!(fetch(wanted, connection, place.scratch(), interruption));
    let rootfs = Rootfs::open(&unfinished).map_err(|errno| PullError::OpenRootfs(UnpackError::OpenRootfs(errno)))?;
    let mut limits = Limits::default();
    let mut left_out = LeftOut::default();
    // Lowest layer first: each is the difference to those before it.
    while let Some(layer) = layers.next().await {
        let layer = layer?;
        room.check(layer.survey.bytes)?;
        left_out += lay(&rootfs, layer.file, layer.compression, &layer.survey, &mut limits)
            .map_err(|source| PullError::Unpack { layer: layer.blob, source })?;
        layer.progress.done();
    }
    place.finish(&digest)?;
    Ok(Pulled::Done { rootfs: place.rootfs(), left_out })
}

/// More layers than any tool makes (Docker stops at 127). Each is a line of the progress.
const MAX_LAYERS: usize = 500;
