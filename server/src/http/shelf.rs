//! The lessons as pages get them, and the word to those who have them open that they have changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Packed, packed_json};
use crate::lessons::Edition;

/// How long a page hears nothing: less than what proxies and address translators forget connections after.
const QUIET: Duration = Duration::from_secs(25);

/// The lessons, compressed once for each edition.
pub struct Shelf {
    lessons: watch::Receiver<Arc<Edition>>,
    packed: Mutex<Bound>,
}

/// An edition, without and with the image that needs a network.
struct Bound {
    edition: Arc<Edition>,
    packed: [Arc<Packed>; 2],
}

impl Bound {
    fn new(edition: Arc<Edition>) -> Bound {
        let packed = [false, true].map(|has_image| packed_json(&edition.choice.lessons(has_image)));
        Bound { edition, packed }
    }
}

impl Shelf {
    /// The lessons of this receiver.
    pub fn new(lessons: watch::Receiver<Arc<Edition>>) -> Shelf {
        let packed = Mutex::new(Bound::new(lessons.borrow().clone()));
        Shelf { lessons, packed }
    }

    /// The lessons as they are now.
    pub fn lessons(&self, has_image: bool) -> Arc<Packed> {
        let edition = self.lessons.borrow().clone();
        // It is replaced as a whole, so a panic elsewhere has not spoilt it.
        let mut bound = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&bound.edition, &edition) {
            *bound = Bound::new(edition);
        }
        bound.packed[usize::from(has_image)].clone()
    }

    /// A stream of server-sent events (HTML, section 9.2): one at once, and one for each change. Its data is the fault of
    /// what was saved last, as a string of JSON, which is empty where there is none. Lessons that never change answer 204, and a browser does not ask again.
    pub fn changes(&self) -> Response {
        if self.lessons.has_changed().is_err() {
            return StatusCode::NO_CONTENT.into_response();
        }
        let mut lessons = self.lessons.clone();
        lessons.mark_changed();
        Sse::new(futures_util::stream::unfold(lessons, async |mut lessons| {
            let event = match timeout(QUIET, lessons.changed()).await {
                // It ends with the server, which would else wait for this page.
                Ok(changed) => {
                    changed.ok()?;
                    let fault = lessons.borrow_and_update().fault.clone().unwrap_or_default();
                    Event::default().json_data(fault)
                }
                // A page that has gone without a word is noticed when it takes nothing.
                Err(_quiet) => Ok(Event::default().comment("")),
            };
            Some((event, lessons))
        }))
        .into_response()
    }
}
