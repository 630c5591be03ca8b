//! Each learner's progress on disk, outside of their lab: a file of JSON under the lab's id, for as long as anybody may come
//! back.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::checks::Progress;
use crate::lab::{Handle, LabId};

/// No file is longer: what [`Progress::bounded`] lets through.
const LONGEST: u64 = 1 << 20;
/// Who has not been here for so long has forgotten it too.
const KEPT: Duration = Duration::from_secs(180 * 24 * 3600);

/// Where progress is kept.
#[derive(Clone, Debug)]
pub struct ProgressStore {
    directory: PathBuf,
}

impl ProgressStore {
    /// Keeps progress in this directory, which is made where it is missing. What nobody has touched for half a year goes.
    pub fn open(directory: PathBuf) -> io::Result<ProgressStore> {
        fs::create_dir_all(&directory)?;
        for entry in fs::read_dir(&directory)?.flatten() {
            let touched = entry.metadata().and_then(|metadata| metadata.modified());
            let age = touched.ok().and_then(|touched| SystemTime::now().duration_since(touched).ok());
            if age.is_some_and(|age| age > KEPT) {
                // It will be tried again at the next start.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(ProgressStore { directory })
    }

    /// How far the learner of this lab had come; from the beginning where that is not known.
    pub fn load(&self, lab: LabId) -> Progress {
        match self.read(lab) {
            Ok(progress) => progress.bounded(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Progress::default(),
            Err(error) => {
                tracing::warn!("the progress of {lab:?} cannot be read, and begins anew: {error}");
                Progress::default()
            }
        }
    }

    /// Keeps what this lab tells, until it ends.
    pub async fn follow(self, lab: Arc<Handle>) {
        let followed = async {
            let mut feed = lab.progress().await?;
            loop {
                let progress = feed.next().await?;
                // Most who look in do nothing.
                if progress == Progress::default() {
                    continue;
                }
                let (store, id) = (self.clone(), lab.id);
                let written = tokio::task::spawn_blocking(move || store.write(id, &progress)).await;
                if let Err(error) = written.unwrap_or_else(|panicked| Err(io::Error::other(panicked))) {
                    tracing::warn!("the progress of {:?} cannot be kept: {error}", lab.id);
                }
            }
        };
        let result: io::Result<()> = followed.await;
        // The end of a lab is heard here first.
        if let Err(error) = result
            && !matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            && !lab.has_ended()
        {
            tracing::warn!("the progress of {:?} is not heard of any more: {error}", lab.id);
        }
    }

    fn read(&self, lab: LabId) -> io::Result<Progress> {
        let mut json = Vec::new();
        fs::File::open(self.path(lab))?.take(LONGEST).read_to_end(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// Whole or not at all: a server that is killed leaves the former state.
    fn write(&self, lab: LabId, progress: &Progress) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&serde_json::to_vec(progress)?)?;
        file.persist(self.path(lab))?;
        Ok(())
    }

    fn path(&self, lab: LabId) -> PathBuf {
        self.directory.join(format!("{lab}.json"))
    }
}
