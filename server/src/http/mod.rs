//! What browsers and labs reach over HTTP: the page's files, lessons and code, the learner's WebSocket, and the registry
//! mirror inside each lab. The only place that knows axum.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use shared::lesson::SourceFile;

use crate::classroom::{Classroom, Learner};
use crate::defence::{Defence, Defences};
use crate::lab::Handle;
use crate::lessons;
use crate::registry::{Client, Store};
use limited::Limited;
use packed::Packed;
use shelf::Shelf;

mod assets;
mod limited;
pub mod mirror;
mod packed;
mod page_socket;
mod shelf;

/// What the handlers share.
pub struct Site {
    /// The labs.
    pub classroom: Arc<Classroom>,
    /// The lessons, with and without a network.
    pub lessons: watch::Receiver<Arc<lessons::Edition>>,
    /// The images that the lessons pull.
    pub store: Arc<Store>,
    /// The taught code.
    pub code: Vec<SourceFile>,
    /// The names under which browsers may reach the server; empty means any.
    pub hosts: Vec<String>,
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
pub async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    tokio::spawn(keep_teaching(site.clone()));
    axum::serve(listener, router(site)).with_graceful_shutdown(stop).await
}

/// Serves the registry mirror on a socket.
pub async fn serve_mirror(listener: TcpListener, mirror: Router) -> io::Result<()> {
    axum::serve(listener, mirror).await
}

/// Serves the registry mirror inside each lab that arrives, until the lab ends.
pub async fn serve_mirrors(mut arrivals: mpsc::UnboundedReceiver<Arc<Handle>>, store: Arc<Store>) {
    while let Some(lab) = arrivals.recv().await {
        // What one lab asks for is told from what others do.
        let mirror = mirror::router(store.clone(), Client::new());
        tokio::spawn(async move {
            match serve_mirrors_of(&lab, mirror).await {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    tracing::warn!("lab {:?} has no mirror: {error}", lab.id);
                }
                _lab_has_ended => {}
            }
        });
    }
}

/// Connections that one lab may have to its mirror; more wait. Each is a descriptor of the server, which has enough for
/// sixty labs but not for one that means harm.
const MIRROR_CONNECTIONS: usize = 32;

async fn serve_mirrors_of(lab: &Handle, mirror: Router) -> io::Result<()> {
    let mut mirrors = lab.mirrors().await?;
    let mut serving: Option<oneshot::Sender<()>> = None;
    loop {
        let listener = mirrors.next().await?;
        let (stop, stopped) = oneshot::channel();
        // The former's sender is dropped here, which stops it: its socket keeps a network namespace alive that nobody
        // uses any more.
        serving.replace(stop);
        let server = axum::serve(Limited::new(listener, MIRROR_CONNECTIONS), mirror.clone()).with_graceful_shutdown(
            async move {
                let _ = stopped.await;
            },
        );
        tokio::spawn(server.into_future());
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
        .route("/api/lessons/changes", get(async move |_: SameSite| changes.changes()))
        .route("/api/code", get(async move |headers: HeaderMap| code.answer(&headers)))
        .route("/api/lab", any(page_socket::lab))
        .layer(map_response(harden))
        .with_state(site)
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

/// A request that was made under a name of ours, and not by another site's page.
pub struct SameSite;

impl FromRequestParts<Arc<Site>> for SameSite {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<SameSite, Response> {
        let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let host = header(header::HOST).unwrap_or_default();
        // Another site can point its own name at this address; then Origin and Host agree, but the name is not ours.
        let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
        let knows_names = !site.hosts.is_empty() && site.defences.stand(Defence::Host);
        if knows_names && !site.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            let message = format!("this server is not known as {name}; start it with --host {name} if it should be\n");
            return Err((StatusCode::MISDIRECTED_REQUEST, message).into_response());
        }
        let origin = header(header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        match origin {
            _ if !site.defences.stand(Defence::Origin) => Ok(SameSite),
            Some(origin) if !origin.eq_ignore_ascii_case(host) => {
                Err((StatusCode::FORBIDDEN, "a page from elsewhere cannot reach this machine\n").into_response())
            }
            // Browsers send it with every WebSocket and every method but GET; what does not, is not told apart.
            None if parts.method != "GET" || parts.headers.contains_key(header::UPGRADE) => {
                Err((StatusCode::FORBIDDEN, "the Origin header is missing\n").into_response())
            }
            _ => Ok(SameSite),
        }
    }
}

const COOKIE: &str = "newroot";

/// The learner whose cookie came along.
fn learner(headers: &HeaderMap) -> Option<Learner> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).and_then(|(_, secret)| Learner::from_secret(secret))
}

/// The names of a machine's own loopback interface, for a server that listens on nothing else.
pub fn loopback_hosts(address: SocketAddr) -> Vec<String> {
    match address.ip().is_loopback() {
        true => ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec(),
        false => Vec::new(),
    }
}
