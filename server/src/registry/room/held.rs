//! Files of the cache that are being read: one descriptor for all readers of a blob, and who they are.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use super::super::client::{Client, Number};

/// A file that is read. As long as it is open it is not evicted (see `hold` in `content`).
#[derive(Default)]
pub struct Held {
    file: Mutex<Option<Arc<File>>>,
    /// How often each client reads it.
    readers: Mutex<HashMap<Number, usize>>,
}

/// One who reads a file.
pub struct Reader {
    held: Arc<Held>,
    client: Number,
}

impl Held {
    /// A file that is there.
    pub fn open(file: File) -> Arc<Held> {
        let held = Held::default();
        held.set(file);
        Arc::new(held)
    }

    /// One more reader.
    pub fn reader(self: &Arc<Held>, client: &Client) -> Reader {
        *self.readers().entry(client.number()).or_default() += 1;
        Reader { held: self.clone(), client: client.number() }
    }

    /// Names the file that this is about.
    pub fn set(&self, file: File) {
        *self.lock() = Some(Arc::new(file));
    }

    /// The file; `None` if it is not open yet, or was taken away.
    pub fn file(&self) -> Option<Arc<File>> {
        self.lock().clone()
    }

    /// Who reads it.
    pub fn clients(&self) -> Vec<Number> {
        self.readers().keys().copied().collect()
    }

    /// Takes the file away from all who read it, so that it can be evicted at once. They get an error with their next byte.
    pub fn revoke(&self) {
        if let Some(file) = self.lock().take() {
            // Who is reading a piece in this moment has it open for that long. The file can go before.
            let _ = flock(&*file, FlockOperation::Unlock);
        }
    }

    /// The same for a file that has lost its name: what it takes of the disk is free at once.
    pub fn discard(&self) {
        if let Some(file) = self.lock().take() {
            let _ = file.set_len(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        // Is never left half changed, as below.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<Number, usize>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// The file.
    pub fn file(&self) -> io::Result<Arc<File>> {
        self.held.file().ok_or_else(|| io::Error::other("the cache needs the room of this blob for others; ask again"))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut readers = self.held.readers();
        if let Some(count) = readers.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.client);
            }
        }
    }
}
