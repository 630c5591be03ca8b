//! Connections: taken while there are places for them, served HTTP/1 and nothing else, and closed when the other end is
//! stuck for too long. Nothing here knows what is asked.

mod guarded;
mod listener;
mod places;

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::seldom::Seldom;
use crate::defence::{Defence, Defences};
pub use guarded::Guarded;
pub use listener::Listener;
pub use places::{PerAddress, Places, Share, Taken};

/// The longest head of a request. A browser sends a server on localhost the cookies of all others that ever were there.
const HEAD: usize = 32 << 10;
/// How long the last requests have when the server ends, or a machine of a lab.
const GRACE: Duration = Duration::from_secs(2);

/// That an address has as many connections as it may.
static TOO_MANY: Seldom = Seldom::new();

/// What connections may take, and how long they may be stuck.
#[derive(Clone)]
pub struct Rules {
    /// How many there may be.
    pub places: Places,
    /// From the moment a request may come until its head is there. This is also how long a connection may be idle.
    pub head: Duration,
    /// How long the other end may take nothing of what is written to it.
    pub stall: Duration,
    /// How many bytes the kernel may keep in each direction. Else its buffers grow to megabytes, for whoever reads nothing.
    pub buffer: usize,
    /// Which defences stand.
    pub defences: Defences,
}

/// Who is at the other end of a connection: `None` where it has no internet address.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub Option<IpAddr>);

/// Serves what a listener accepts until `stop` is ready, and then whoever is being answered for a moment.
pub async fn serve<L: Listener>(listener: L, router: Router, rules: Rules, stop: impl Future<Output = ()>) {
    if let Err(error) = listener.bound_buffers(rules.buffer) {
        tracing::warn!("the buffers of connections cannot be bounded: {error}");
    }
    let (closing, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let place = tokio::select! {
            place = rules.places.free() => place,
            () = &mut stop => break,
        };
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    wait_out(&error).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        while connections.try_join_next().is_some() {}
        // Whoever has too many is closed at once, and does not stand in the way of others.
        let Some(place) = rules.places.admit(place, address) else {
            TOO_MANY.say(|| tracing::warn!("{address:?} has more connections than one address may have"));
            continue;
        };
        let stall = rules.defences.stand(Defence::HttpTimeouts).then_some(rules.stall);
        let guarded = Guarded::new(stream, stall, place);
        connections.spawn(attend(guarded, Peer(address), router.clone(), rules.clone(), closing.subscribe()));
    }
    drop(listener);
    closing.send_replace(true);
    let done = async { while connections.join_next().await.is_some() {} };
    // Others are dropped: a request that never ends must not keep the server.
    match rules.defences.stand(Defence::HttpTimeouts) {
        true => drop(timeout(GRACE, done).await),
        false => done.await,
    }
}

/// Accepting fails for a connection that has gone already, or because something has run out: then the next try would fail
/// as well.
async fn wait_out(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!("connections cannot be accepted just now: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Serves one connection to its end. When the server ends, the request that is being answered is the last.
async fn attend<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: Guarded<S>,
    peer: Peer,
    router: Router,
    rules: Rules,
    mut closing: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let stream = TokioIo::new(stream);
    // A connection that breaks is nobody's fault here, and its other end knows.
    if !rules.defences.stand(Defence::HttpOne) {
        let _ = auto::Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(stream, service).await;
        return;
    }
    let mut connection = pin!(builder(&rules).serve_connection(stream, service).with_upgrades());
    tokio::select! {
        _ended = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// HTTP/1 alone. In HTTP/2 one connection asks for hundreds of things at once, all of which are waiting in memory until
/// it takes them.
fn builder(rules: &Rules) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Pieces of a body are written from where they are. Copied, they would no longer be counted.
    builder.writev(true).max_buf_size(HEAD).timer(TokioTimer::new());
    builder.header_read_timeout(rules.defences.stand(Defence::HttpTimeouts).then_some(rules.head));
    builder
}
