//! Whose requests are answered: those that are made under a name of ours, by no other site's page, and that say one thing
//! only. What is asked is not looked at here.

mod authority;
mod proxies;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Site;
use crate::classroom::Learner;
use crate::defence::Defence;
use authority::{Authority, Origin};
pub use proxies::{Network, Proxies};

/// Why a request gets no answer.
pub type Refusal = (StatusCode, String);

/// Lets a request through, or says why not.
pub async fn check(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match examine(&parts, &site) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        // What follows such a request may be anything.
        Err((status, why)) => (status, [(header::CONNECTION, "close")], format!("{why}\n")).into_response(),
    }
}

fn examine(parts: &Parts, site: &Site) -> Result<(), Refusal> {
    let bad = |why: &str| (StatusCode::BAD_REQUEST, why.to_owned());
    if parts.method == Method::CONNECT {
        return Err(bad("this is no proxy"));
    }
    // Nothing here takes one; and where two servers differ in where it ends, one of them takes its end for a request.
    if has_body(&parts.headers) {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, "requests to this server have no body".to_owned()));
    }
    if site.defences.stand(Defence::HeadersOnce) {
        for name in
            [header::HOST, header::ORIGIN, header::UPGRADE, header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION]
        {
            only(&parts.headers, name)?;
        }
    }
    let host = text(&parts.headers, header::HOST)?.ok_or_else(|| bad("the Host header is missing"))?;
    let host = Authority::parse(host).ok_or_else(|| bad("the Host header is not NAME or NAME:PORT"))?;
    // A target in absolute form has a name of its own, which would count in place of Host (RFC 9112, section 3.2.2).
    if let Some(target) = parts.uri.authority()
        && Authority::parse(target.as_str()).as_ref() != Some(&host)
    {
        return Err(bad("the request is for another host than its Host header says"));
    }
    // Another site can point its own name at this address; then Origin and Host agree, but the name is not ours.
    let name = &host.name;
    if site.defences.stand(Defence::Host)
        && !site.hosts.is_empty()
        && !site.hosts.iter().any(|ours| authority::is_same_name(ours, name))
    {
        let why = format!("this server is not known as {name}; start it with --host {name} if it should be");
        return Err((StatusCode::MISDIRECTED_REQUEST, why));
    }
    match text(&parts.headers, header::ORIGIN)? {
        _ if !site.defences.stand(Defence::Origin) => Ok(()),
        Some(origin) if !Origin::parse(origin).is_some_and(|origin| origin.is_of(&host)) => {
            Err((StatusCode::FORBIDDEN, "a page from elsewhere cannot reach this machine".to_owned()))
        }
        // Browsers send it with every WebSocket and every method but GET; what does not, is not told apart.
        None if parts.method != Method::GET || parts.headers.contains_key(header::UPGRADE) => {
            Err((StatusCode::FORBIDDEN, "the Origin header is missing".to_owned()))
        }
        _ => Ok(()),
    }
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).into_iter().any(|length| length != "0")
}

/// A header that one server would read the first of, and another the last.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<(), Refusal> {
    match headers.get_all(&name).into_iter().nth(1) {
        None => Ok(()),
        Some(_) => Err((StatusCode::BAD_REQUEST, format!("there are two {name} headers"))),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Refusal> {
    let value = headers.get(&name).map(|value| value.to_str()).transpose();
    value.map_err(|_| (StatusCode::BAD_REQUEST, format!("the {name} header has letters that it cannot have")))
}

/// The name of our cookie.
pub const COOKIE: &str = "newroot";

/// The learner whose cookie came along, if one did. Two cookies of our name are an error: another site on this name, or
/// another server on another port, may have set one, and nobody can say which.
pub fn learner(headers: &HeaderMap, site: &Site) -> Result<Option<Learner>, Refusal> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    let first = ours.next();
    if ours.next().is_some() && site.defences.stand(Defence::HeadersOnce) {
        let why = format!("this browser has two cookies with the name {COOKIE}: remove both, and open the page again");
        return Err((StatusCode::BAD_REQUEST, why));
    }
    Ok(first.and_then(|cookie| site.learners.recognise(cookie)))
}

/// The names of a machine's own loopback interface, for a server that listens on nothing else.
pub fn loopback_hosts(address: SocketAddr) -> Vec<String> {
    match address.ip().is_loopback() {
        true => ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec(),
        false => Vec::new(),
    }
}
