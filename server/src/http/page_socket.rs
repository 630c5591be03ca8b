//! The learner's WebSocket: checked and upgraded here, then handed to the lab process, which speaks it from there on.

use std::io;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{SameSite, Site, learner};
use crate::classroom::Error;
use crate::lab::Handle;

/// What a bridge reads at a time, and all that it holds in each direction: the rest waits with whoever sent it.
const BRIDGE_BUFFER: usize = 16 * 1024;

/// `GET` with an upgrade: connects to the learner's lab, which is started if need be. `DELETE`: ends it.
pub async fn lab(_: SameSite, State(site): State<Arc<Site>>, mut request: Request) -> Response {
    let Some(learner) = learner(request.headers()) else {
        return (StatusCode::UNAUTHORIZED, "open the page first: it gives the cookie that names your machine\n")
            .into_response();
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
            // Before the answer, so that a lab that cannot start is an HTTP error and not a socket that closes.
            let lab = match site.classroom.lab(&learner).await {
                Ok(lab) => lab,
                Err(error) => return refusal(&error),
            };
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                if let Err(error) = hand_over(upgrade, &lab).await {
                    tracing::warn!("a page could not be handed to lab {:?}: {error}", lab.id);
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

/// The answer to a WebSocket handshake (RFC 6455, section 4.2), where the request is one.
fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, wanted: &str| {
        let values = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        values.split(',').any(|value| value.trim().eq_ignore_ascii_case(wanted))
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

fn refusal(error: &Error) -> Response {
    let status = match error {
        Error::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Start(error) => {
            tracing::error!("a lab could not be started: {error}");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    (status, format!("{error}\n")).into_response()
}

/// Takes the TCP connection out of hyper's hands, with the bytes that it has read too far, and passes both on: from then
/// on nothing of it passes through the server. What is no TCP connection by itself is bridged.
async fn hand_over(upgrade: OnUpgrade, lab: &Handle) -> io::Result<()> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    match downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => lab.hand_over(parts.io.into_inner(), parts.read_buf.to_vec()).await,
        Err(upgraded) => bridge(upgraded, lab).await,
    }
}

/// Serves a page whose connection cannot be passed on (TLS that ends in this process, HTTP/2, a pipe): the lab gets one
/// end of a pair of sockets, and this task copies between the other end and the page until either is done. Such a page
/// has to connect again when the server is restarted.
async fn bridge(page: Upgraded, lab: &Handle) -> io::Result<()> {
    let (mut ours, labs) = UnixStream::pair()?;
    lab.hand_over(labs, Vec::new()).await?;
    let mut page = TokioIo::new(page);
    // The end of one direction is passed on and leaves the other open. A connection that breaks ends both, and is no
    // error of ours: the lab and the page each see their end break.
    let _ = copy_bidirectional_with_sizes(&mut page, &mut ours, BRIDGE_BUFFER, BRIDGE_BUFFER).await;
    Ok(())
}
