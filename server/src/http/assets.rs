//! The page's files, out of the binary itself.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::{COOKIE, SameSite, Site, learner};
use crate::classroom::Learner;

#[derive(RustEmbed)]
#[folder = "../target/dist/page"]
#[allow_missing = true]
struct Files;

/// The page. A learner without a cookie gets one.
pub async fn index(_: SameSite, State(_): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let Some(file) = Files::get("index.html") else {
        let message = "this newroot was built without its page; build it with `cargo xtask run`\n";
        return (StatusCode::NOT_FOUND, message).into_response();
    };
    let mut response = with_type("index.html", file.data.into_owned());
    // The page names its assets by their content, so only the page itself can be out of date.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if learner(&headers).is_none() {
        let Ok(newcomer) = Learner::new() else {
            return (StatusCode::INTERNAL_SERVER_ERROR, "the kernel has no random numbers\n").into_response();
        };
        let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000", newcomer.secret());
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// One of the page's files; its name changes with its content, so it may be kept for ever.
pub async fn asset(Path(name): Path<String>) -> Response {
    match Files::get(&format!("assets/{name}")) {
        Some(file) => {
            let mut response = with_type(&name, file.data.into_owned());
            let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
            response.headers_mut().insert(header::CACHE_CONTROL, forever);
            response
        }
        None => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    }
}

fn with_type(name: &str, content: Vec<u8>) -> Response {
    let kind = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    };
    ([(header::CONTENT_TYPE, kind)], content).into_response()
}
