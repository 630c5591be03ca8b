//! The learner's WebSocket: checked and upgraded here, then handed to the lab process, which speaks it from there on.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use shared::protocol::{CLOSE_LAB_ENDED, CLOSE_NO_LAB, CLOSE_ROOM_FULL};

use super::Site;
use super::connections::{Guarded, Peer};
use super::requests::learner;
use super::seldom::Seldom;
use crate::classroom::{Address, Error};
use crate::lab::Handle;

/// That somebody got no lab.
static REFUSED: Seldom = Seldom::new();

/// How long a page that was refused has to take its leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a lab that takes no connection any more may need to end.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// What a bridge reads at a time, and all that it holds in each direction: the rest waits with whoever sent it.
const BRIDGE_BUFFER: usize = 16 * 1024;

/// `GET` with an upgrade: connects to the learner's lab, which is started if need be, unless the query is `resume`.
/// `DELETE`: ends it.
pub async fn lab(State(site): State<Arc<Site>>, mut request: Request) -> Response {
    let learner = match learner(request.headers(), &site) {
        Ok(Some(learner)) => learner,
        Ok(None) => {
            let why = "open the page first: it gives the cookie that names your machine\n";
            return (StatusCode::UNAUTHORIZED, why).into_response();
        }
        Err(refusal) => return refusal.into_response(),
    };
    match *request.method() {
        Method::DELETE => {
            site.classroom.end(&learner).await;
            StatusCode::NO_CONTENT.into_response()
        }
        Method::GET => {
            let Some(accept) = accept_key(request.headers()) else {
                let upgrade = [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")];
                return (StatusCode::UPGRADE_REQUIRED, upgrade, "this is a WebSocket\n").into_response();
            };
            // A page that has a machine comes back to that one, and is told when it is no more: a new one would be a
            // surprise.
            let lab = match request.uri().query() == Some("resume") && !site.classroom.has_lab(&learner) {
                true => Err(Refusal { code: CLOSE_LAB_ENDED, reason: "it has ended while nobody was looking".into() }),
                false => site.classroom.lab(&learner, client(&site, &request)).await.map_err(Refusal::from),
            };
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                if let Err(error) = connect(upgrade, lab).await {
                    tracing::warn!("a page's connection could not be taken over: {error}");
                }
            });
            let headers = [
                (header::UPGRADE, HeaderValue::from_static("websocket")),
                (header::CONNECTION, HeaderValue::from_static("upgrade")),
                (header::SEC_WEBSOCKET_ACCEPT, accept),
            ];
            (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, DELETE")]).into_response(),
    }
}

/// Where the page's browser is.
fn client(site: &Site, request: &Request) -> Option<Address> {
    let peer = request.extensions().get::<Peer>()?;
    site.proxies.client(*peer, request.headers()).map(Address::from)
}

/// The answer to a WebSocket handshake (RFC 6455, section 4.2), where the request is one.
fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name: HeaderName, wanted: &str| {
        let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return None;
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return None;
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// Why a page gets no lab. Browsers hide the answer to a failed upgrade from their pages, so it goes into the close of a
/// WebSocket that was opened for that alone.
struct Refusal {
    code: u16,
    reason: String,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let code = match &error {
            Error::Refused(refused) => {
                REFUSED.say(|| tracing::warn!("a learner got no lab: {refused}"));
                CLOSE_ROOM_FULL
            }
            Error::Start(error) => {
                tracing::error!("a lab could not be started: {error}");
                CLOSE_NO_LAB
            }
        };
        Refusal { code, reason: error.to_string() }
    }
}

/// Takes the TCP connection out of hyper's hands, with the bytes that it has read too far, and passes both on: from then
/// on nothing of it passes through the server. What is no TCP connection by itself is bridged.
async fn connect(upgrade: OnUpgrade, lab: Result<Arc<Handle>, Refusal>) -> io::Result<()> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let parts = match upgraded.downcast::<TokioIo<Guarded<TcpStream>>>() {
        Ok(parts) => parts,
        Err(upgraded) => return connect_other(upgraded, lab).await,
    };
    let (page, _until_it_is_the_labs) = parts.io.into_inner().into_parts();
    let (page, ahead) = (page.into_std()?, parts.read_buf.to_vec());
    let Err(refusal) = offer(&page, ahead, lab).await else { return Ok(()) };
    let shared = page.try_clone()?;
    refuse(TcpStream::from_std(page)?, refusal).await;
    // A lab that did not answer may have a copy of the connection, and wake up one day.
    match shared.shutdown(std::net::Shutdown::Both) {
        Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
        _ => Ok(()),
    }
}

/// Bridges a page's connection that is no TCP connection.
async fn connect_other(upgraded: Upgraded, lab: Result<Arc<Handle>, Refusal>) -> io::Result<()> {
    match upgraded.downcast::<TokioIo<Guarded<UnixStream>>>() {
        Ok(parts) => {
            // A page may take nothing for as long as it likes: nothing waits for it but its lab.
            let (page, _as_long_as_it_is_there) = parts.io.into_inner().into_parts();
            bridge(page, parts.read_buf.to_vec(), lab).await
        }
        Err(upgraded) => bridge(TokioIo::new(upgraded), Vec::new(), lab).await,
    }
}

/// Serves a page whose connection cannot be passed on (TLS that ends in this process, HTTP/2, a pipe): the lab gets one
/// end of a pair of sockets, and this task copies between the other end and the page until either is done. Such a page
/// has to connect again when the server is restarted.
async fn bridge(
    mut page: impl AsyncRead + AsyncWrite + Unpin,
    ahead: Vec<u8>,
    lab: Result<Arc<Handle>, Refusal>,
) -> io::Result<()> {
    let (mut ours, labs) = UnixStream::pair()?;
    match offer(labs, ahead, lab).await {
        // The end of one direction is passed on and leaves the other open. A connection that breaks ends both, and is
        // no error of ours: the lab and the page each see their end break.
        Ok(()) => drop(copy_bidirectional_with_sizes(&mut page, &mut ours, BRIDGE_BUFFER, BRIDGE_BUFFER).await),
        Err(refusal) => refuse(page, refusal).await,
    }
    Ok(())
}

/// Hands a connection to the page's lab, if it has one that takes it.
async fn offer(page: impl AsFd, ahead: Vec<u8>, lab: Result<Arc<Handle>, Refusal>) -> Result<(), Refusal> {
    let lab = lab?;
    let Err(error) = lab.hand_over(page, ahead).await else { return Ok(()) };
    // A process that ends closes its sockets first, and is known to have ended a moment later.
    let ends = async { error.kind() != io::ErrorKind::TimedOut && timeout(LAST_MOMENT, lab.ended()).await.is_ok() };
    if lab.has_ended() || ends.await {
        return Err(Refusal { code: CLOSE_LAB_ENDED, reason: "it has just ended".into() });
    }
    tracing::warn!("a page could not be handed to lab {:?}: {error}", lab.id);
    Err(Refusal { code: CLOSE_NO_LAB, reason: "it runs, but does not answer".into() })
}

/// Closes a page's WebSocket with the reason. A page that is gone by now needs none.
async fn refuse(page: impl AsyncRead + AsyncWrite + Unpin, refusal: Refusal) {
    let mut socket = WebSocketStream::from_raw_socket(page, Role::Server, None).await;
    // A control frame has room for 125 bytes, two of them for the code (RFC 6455, section 5.5).
    let end = (0..=refusal.reason.len().min(120)).rev().find(|end| refusal.reason.is_char_boundary(*end)).unwrap_or(0);
    let reason = CloseFrame { code: refusal.code.into(), reason: refusal.reason[..end].into() };
    let closing = async {
        if socket.close(Some(reason)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(FAREWELL, closing).await;
}
