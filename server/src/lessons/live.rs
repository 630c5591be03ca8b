//! Lessons that change while they are served: a directory of them is watched (inotify(7)), and read anew when a file in it
//! was saved. What is faulty is not taken; the last good lessons stay, and the fault is told.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::{Choice, LoadError};
use crate::sys;

/// The lessons as they are now.
#[derive(Debug)]
pub struct Edition {
    /// The last that had no fault.
    pub choice: Choice,
    /// What is wrong with what was saved since.
    pub fault: Option<String>,
}

/// Lessons that stay as they are. The receiver says so: nobody can send.
pub fn fixed(choice: Choice) -> watch::Receiver<Arc<Edition>> {
    watch::channel(Arc::new(Edition { choice, fault: None })).1
}

/// The lessons of a directory added to those of this binary, and a future that keeps them up to date as long as it is
/// polled. It ends only with an error.
pub fn watched(
    directory: &Path,
) -> Result<(watch::Receiver<Arc<Edition>>, impl Future<Output = LoadError> + Send + use<>), LoadError> {
    // In this order, so that nothing which is saved in between is missed.
    let watch = Watch::new(directory)?;
    let choice = Choice::with_directory(directory)?;
    let (sender, receiver) = watch::channel(Arc::new(Edition { choice, fault: None }));
    let directory = directory.to_owned();
    Ok((receiver, async move {
        loop {
            if let Err(error) = watch.saved().await {
                return error;
            }
            sender.send_if_modified(|edition| take_in(edition, Choice::with_directory(&directory)));
        }
    }))
}

/// Takes in what was read; returns whether anything is new.
fn take_in(edition: &mut Arc<Edition>, read: Result<Choice, LoadError>) -> bool {
    let next = match read {
        Ok(choice) => Edition { choice, fault: None },
        Err(error) => Edition { choice: edition.choice.clone(), fault: Some(error.to_string()) },
    };
    if next.choice == edition.choice && next.fault == edition.fault {
        return false;
    }
    match &next.fault {
        Some(fault) => tracing::warn!("a lesson was saved with a fault, and is shown as it was before: {fault}"),
        None => tracing::info!("the lessons were read anew"),
    }
    *edition = Arc::new(next);
    true
}

/// The kernel's word on what is saved in a directory and in the folders in it.
struct Watch {
    events: AsyncFd<OwnedFd>,
    directory: PathBuf,
}

impl Watch {
    fn new(directory: &Path) -> Result<Watch, LoadError> {
        let failed = |error: std::io::Error| LoadError::Watch { path: directory.to_owned(), error };
        let events =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        let watch = Watch { events: sys::watch(events).map_err(failed)?, directory: directory.to_owned() };
        watch.watch_folders()?;
        Ok(watch)
    }

    /// Watches the directory and each folder in it. One that is watched already stays so (inotify_add_watch(2)).
    fn watch_folders(&self) -> Result<(), LoadError> {
        // Not IN_MODIFY, nor IN_CREATE for files: a file is whole when it is closed, or moved to its place.
        let saved = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
        self.add(&self.directory, saved | WatchFlags::CREATE | WatchFlags::ONLYDIR)?;
        let unreadable = |error| LoadError::Read { path: self.directory.clone(), error };
        for entry in fs::read_dir(&self.directory).map_err(unreadable)?.flatten() {
            if entry.path().is_dir() {
                match self.add(&entry.path(), saved | WatchFlags::ONLYDIR) {
                    // It has just been removed, which is an event of its own.
                    Err(LoadError::Watch { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
                    result => result?,
                }
            }
        }
        Ok(())
    }

    fn add(&self, path: &Path, events: WatchFlags) -> Result<(), LoadError> {
        let failed = |errno: Errno| LoadError::Watch { path: path.to_owned(), error: errno.into() };
        inotify::add_watch(&self.events, path, events).map(drop).map_err(failed)
    }

    /// Waits until something was saved, and takes all that the kernel has to say about it.
    async fn saved(&self) -> Result<(), LoadError> {
        let failed = |error| LoadError::Watch { path: self.directory.clone(), error };
        let mut ready = self.events.readable().await.map_err(failed)?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        loop {
            match reader.next() {
                // Which file it is does not matter: reading all lessons takes some milliseconds.
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {}
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        ready.clear_ready();
        // A folder may be new. If the directory itself has gone, reading it says so.
        let _ = self.watch_folders();
        Ok(())
    }
}
