//! What browsers and labs reach over HTTP: the page's files, lessons and code, the learner's WebSocket, and the registry
//! mirror inside each lab. The only place that knows axum.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use shared::lesson::SourceFile;

use crate::classroom::{Classroom, Learners};
use crate::defence::Defences;
use crate::lab::Handle;
use crate::lessons;
use crate::registry::{Client, Store};
use connections::Listener;
pub use limits::Limits;
use packed::Packed;
pub use requests::{Network, Proxies, loopback_hosts};
pub use security_txt::Contact;
use shelf::Shelf;

mod assets;
mod connections;
mod limits;
pub mod mirror;
mod packed;
mod page_socket;
mod requests;
mod security_txt;
mod seldom;
mod shelf;

/// What the handlers share.
pub struct Site {
    /// The labs.
    pub classroom: Arc<Classroom>,
    /// Whose cookie is whose.
    pub learners: Learners,
    /// The lessons, with and without a network.
    pub lessons: watch::Receiver<Arc<lessons::Edition>>,
    /// The images that the lessons pull.
    pub store: Arc<Store>,
    /// The taught code.
    pub code: Vec<SourceFile>,
    /// The names under which browsers may reach the server; empty means any.
    pub hosts: Vec<String>,
    /// Who is believed about whom they ask for.
    pub proxies: Proxies,
    /// Whom to tell of a fault in this server.
    pub contact: Option<Contact>,
    /// Which defences stand.
    pub defences: Defences,
}

impl Site {
    /// Has the labs ask what the lessons do that pages get now, and says whether those are for the image that needs a
    /// network.
    async fn teach(&self) -> bool {
        let has_image = match lessons::IMAGE.parse() {
            Ok(name) => self.store.can_pull(&name).await,
            Err(_) => false,
        };
        self.classroom.set_checks(self.lessons.borrow().choice.checks(has_image));
        has_image
    }
}

/// Keeps what the labs ask as the lessons are, from the start of the server on.
async fn keep_teaching(site: Arc<Site>) {
    let mut lessons = site.lessons.clone();
    loop {
        site.teach().await;
        // Lessons that cannot change tell so by an error.
        if lessons.changed().await.is_err() {
            return;
        }
    }
}

/// Serves the site until `stop` is ready.
pub async fn serve(listener: impl Listener, site: Arc<Site>, limits: Limits, stop: impl Future<Output = ()>) {
    tokio::spawn(keep_teaching(site.clone()));
    let rules = limits.of_page(site.proxies.clone());
    connections::serve(listener, router(site), rules, stop).await;
}

/// Serves the registry mirror on a socket, for ever.
pub async fn serve_mirror(listener: TcpListener, mirror: Router) {
    let (rules, mirror) = Limits::default().of_mirrors()(mirror);
    connections::serve(listener, mirror, rules, std::future::pending()).await;
}

/// Serves the registry mirror inside each lab that arrives, until the lab ends.
pub async fn serve_mirrors(mut arrivals: mpsc::UnboundedReceiver<Arc<Handle>>, store: Arc<Store>, limits: Limits) {
    let bounded = limits.of_mirrors();
    while let Some(lab) = arrivals.recv().await {
        // What one lab asks for is told from what others do.
        let (rules, mirror) = bounded(mirror::router(store.clone(), Client::new()));
        tokio::spawn(async move {
            match serve_mirrors_of(&lab, mirror, rules).await {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    tracing::warn!("lab {:?} has no mirror: {error}", lab.id);
                }
                _lab_has_ended => {}
            }
        });
    }
}

async fn serve_mirrors_of(lab: &Handle, mirror: Router, rules: connections::Rules) -> io::Result<()> {
    let mut mirrors = lab.mirrors().await?;
    let mut serving: Option<oneshot::Sender<()>> = None;
    loop {
        let listener = mirrors.next().await?;
        let (stop, stopped) = oneshot::channel();
        // The former's sender is dropped here, which stops it: its socket keeps a network namespace alive that nobody
        // uses any more.
        serving.replace(stop);
        let (mirror, rules) = (mirror.clone(), rules.clone());
        tokio::spawn(async move {
            let stop = async { drop(stopped.await) };
            connections::serve(listener, mirror, rules, stop).await;
        });
    }
}

/// All of it, to be served over whatever carries HTTP. Pages that come over TCP are handed to their labs, others are
/// bridged.
pub fn router(site: Arc<Site>) -> Router {
    assets::pack();
    let code = packed_json(&site.code);
    let shelf = Arc::new(Shelf::new(site.lessons.clone()));
    let changes = shelf.clone();
    // Made for an image that can be pulled right now.
    let lessons = async move |State(site): State<Arc<Site>>, headers: HeaderMap| {
        shelf.lessons(site.teach().await).answer(&headers)
    };
    Router::new()
        .route("/", get(assets::index))
        .route("/assets/{name}", get(assets::asset))
        .route("/api/lessons", get(lessons))
        .route("/api/lessons/changes", get(async move || changes.changes()))
        .route("/api/code", get(async move |headers: HeaderMap| code.answer(&headers)))
        .route("/api/lab", any(page_socket::lab))
        .route("/.well-known/security.txt", get(security))
        .layer(from_fn_with_state(site.clone(), requests::check))
        .layer(map_response(harden))
        .with_state(site)
}

/// Whom to tell of a fault, where somebody was named.
async fn security(State(site): State<Arc<Site>>) -> Response {
    match &site.contact {
        Some(contact) => security_txt::text(contact).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A value that stays what it is now, as an answer.
fn packed_json(value: &(impl Serialize + ?Sized)) -> Arc<Packed> {
    // Structs and lists of text are always JSON.
    Arc::new(Packed::new("application/json", serde_json::to_vec(value).unwrap_or_default()))
}

/// What the page may do is little, and no other page may do anything with it.
async fn harden(mut response: Response) -> Response {
    const HEADERS: [(header::HeaderName, &str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, assets::POLICY.clone());
    response
}
