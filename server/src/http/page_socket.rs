//! The learner's WebSocket: checked and upgraded here, then handed to the lab process, which speaks it from there on.

use std::io;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{SameSite, Site, learner};
use crate::classroom::Error;
use crate::lab::Handle;

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

/// Takes the TCP connection out of hyper's hands, with the bytes that it has read too far, and passes both on.
async fn hand_over(upgrade: OnUpgrade, lab: &Handle) -> io::Result<()> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let parts = downcast::<TokioIo<TcpStream>>(upgraded)
        .map_err(|_| io::Error::new(io::ErrorKind::Unsupported, "the connection is not plain TCP"))?;
    let page = parts.io.into_inner().into_std()?;
    lab.hand_over(page, parts.read_buf.to_vec()).await
}
