//! Who is here: learners, by the secret in their browser's cookie, and the lab of each. Knows nothing of HTTP.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, mpsc, watch};

use crate::checks::Check;
use crate::lab::keeper::StartError;
use crate::lab::{Handle, Keeper, LabId};

mod admission;
mod learner;
mod progress;
mod warden;

use admission::Admission;
pub use admission::{Address, Refused, Room};
pub use learner::{KeyError, Learner, Learners};
pub use progress::ProgressStore;
pub use warden::Time;

/// A lab that is being started, or runs.
type Place = Arc<OnceCell<Arc<Handle>>>;

/// The place of a lab, and from where it was started. For those of a former server, nobody knows.
#[derive(Default)]
struct Occupied {
    place: Place,
    from: Option<Address>,
}

/// All labs of this server.
pub struct Classroom {
    keeper: Keeper,
    room: Room,
    labs: Mutex<HashMap<LabId, Occupied>>,
    admission: Mutex<Admission>,
    /// What the lessons ask.
    checks: watch::Sender<Arc<[Check]>>,
    progress: ProgressStore,
    /// How long a lab may live, where this server sees to it.
    time: Option<Time>,
    arrivals: mpsc::UnboundedSender<Arc<Handle>>,
}

/// A learner got no lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There may be no new one now.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Classroom {
    /// A classroom without labs, which may live so long. Each lab that comes is also sent to the receiver.
    pub fn new(
        keeper: Keeper,
        room: impl Into<Room>,
        progress: ProgressStore,
        time: Option<Time>,
    ) -> (Arc<Classroom>, mpsc::UnboundedReceiver<Arc<Handle>>) {
        let (arrivals, receiver) = mpsc::unbounded_channel();
        let checks = watch::Sender::new(Arc::default());
        let (room, labs, admission) = (room.into(), Mutex::default(), Mutex::default());
        (Arc::new(Classroom { keeper, room, labs, admission, checks, progress, time, arrivals }), receiver)
    }

    /// What the lessons ask from now on, in all labs.
    pub fn set_checks(&self, checks: Vec<Check>) {
        self.checks.send_if_modified(|known| {
            let changed = **known != *checks;
            if changed {
                *known = checks.into();
            }
            changed
        });
    }

    /// Takes over the labs that a former server has left running.
    pub async fn find_labs(self: &Arc<Self>) -> usize {
        let found = Handle::find_all(&self.keeper).await;
        let count = found.len();
        for handle in found {
            let place = self.labs().entry(handle.id).or_default().place.clone();
            // A page may have asked for it already, and found it running.
            let _ = place.set(self.welcome(handle, None));
        }
        count
    }

    /// The learner's lab; started if there is none, for whoever asks from this address.
    pub async fn lab(self: &Arc<Self>, learner: &Learner, from: Option<Address>) -> Result<Arc<Handle>, Error> {
        let id = learner.lab();
        loop {
            // As a task of its own: a browser that goes away in between must not leave half a lab.
            let classroom = self.clone();
            let started = tokio::spawn(async move { classroom.find_or_start(id, from).await }).await;
            let handle = started.map_err(|panicked| StartError::from(io::Error::other(panicked)))??;
            if !handle.has_ended() {
                return Ok(handle);
            }
            // It is just being removed; the next one gets its name.
            handle.removed().await;
        }
    }

    /// Whether the learner has a lab that runs, or is being started.
    pub fn has_lab(&self, learner: &Learner) -> bool {
        let labs = self.labs();
        let place = labs.get(&learner.lab()).map(|occupied| &occupied.place);
        place.is_some_and(|place| place.get().is_none_or(|handle| !handle.has_ended()))
    }

    async fn find_or_start(self: &Arc<Self>, id: LabId, from: Option<Address>) -> Result<Arc<Handle>, Error> {
        let place = self.place(id, from)?;
        // However many pages ask at once, one lab is started.
        let started = place.get_or_try_init(async || {
            let checks = self.checks.borrow().clone();
            let started = Handle::start(&self.keeper, id, &checks, self.progress.load(id)).await;
            started.map(|handle| self.welcome(handle, Some(checks)))
        });
        match started.await {
            Ok(handle) => Ok(handle.clone()),
            Err(error) => {
                self.forget(id, &place);
                Err(error.into())
            }
        }
    }

    /// The place of a lab that is there, or a new one.
    fn place(&self, id: LabId, from: Option<Address>) -> Result<Place, Refused> {
        let mut labs = self.labs();
        if let Some(occupied) = labs.get(&id) {
            return Ok(occupied.place.clone());
        }
        let mut admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        admission.admit(&self.room, from, labs.values().map(|occupied| occupied.from), Instant::now())?;
        Ok(labs.entry(id).or_insert(Occupied { place: Place::default(), from }).place.clone())
    }

    /// Ends the learner's lab, if there is one, and waits until nothing is left of it.
    pub async fn end(&self, learner: &Learner) {
        let handle = self.labs().get(&learner.lab()).and_then(|occupied| occupied.place.get().cloned());
        if let Some(handle) = handle {
            self.end_one(&handle, "you have ended it").await;
        }
    }

    /// Ends all labs and waits until nothing is left of them.
    pub async fn end_all(&self) {
        let running: Vec<_> = self.labs().values().filter_map(|occupied| occupied.place.get().cloned()).collect();
        futures_util::future::join_all(running.iter().map(|handle| self.end_one(handle, "the server was stopped")))
            .await;
    }

    async fn end_one(&self, handle: &Handle, why: &str) {
        handle.end(why).await;
        handle.removed().await;
    }

    /// Takes note of a lab, and of its end. `asked` is what it was started with, where that is known.
    fn welcome(self: &Arc<Self>, handle: Handle, asked: Option<Arc<[Check]>>) -> Arc<Handle> {
        let handle = Arc::new(handle);
        let (classroom, ending) = (self.clone(), handle.clone());
        tokio::spawn(async move {
            ending.ended().await;
            ending.clean_up(|| drop(classroom.labs().remove(&ending.id))).await;
            tracing::info!("lab {:?} has ended", ending.id);
        });
        if let Some(time) = self.time {
            tokio::spawn(warden::keep_time(handle.clone(), time, self.age(&handle)));
        }
        tokio::spawn(self.progress.clone().follow(handle.clone()));
        tokio::spawn(keep_told(self.checks.subscribe(), handle.clone(), asked));
        tracing::info!("lab {:?} is here", handle.id);
        // Nobody listens any more only when the server is going down.
        let _ = self.arrivals.send(handle.clone());
        handle
    }

    /// How long a lab has been there, by its directory: a lab of a former server could say anything.
    fn age(&self, lab: &Handle) -> Duration {
        let made = std::fs::metadata(self.keeper.directory().join(lab.id.to_string())).and_then(|made| made.modified());
        made.ok().and_then(|made| made.elapsed().ok()).unwrap_or_default()
    }

    fn forget(&self, id: LabId, place: &Place) {
        let mut labs = self.labs();
        if labs.get(&id).is_some_and(|present| Arc::ptr_eq(&present.place, place)) {
            labs.remove(&id);
        }
    }

    fn labs(&self) -> MutexGuard<'_, HashMap<LabId, Occupied>> {
        // The map is whole after each statement, so a panic elsewhere has not spoilt it.
        self.labs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a lab what the lessons ask, now and whenever that changes, until it ends. A lab of a former server may know other
/// lessons; what one was `asked` already is not told again.
async fn keep_told(mut checks: watch::Receiver<Arc<[Check]>>, lab: Arc<Handle>, mut asked: Option<Arc<[Check]>>) {
    loop {
        let now = checks.borrow_and_update().clone();
        if asked.replace(now.clone()).is_none_or(|asked| asked != now)
            && let Err(error) = lab.set_checks(&now).await
            && !lab.has_ended()
        {
            tracing::warn!("lab {:?} does not hear of new lessons: {error}", lab.id);
        }
        tokio::select! {
            changed = checks.changed() => if changed.is_err() { return },
            () = lab.ended() => return,
        }
    }
}
