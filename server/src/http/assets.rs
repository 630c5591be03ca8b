//! The page's files, out of the binary itself.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::Site;
use super::packed::Packed;
use super::requests::{COOKIE, learner};
use crate::classroom::Learner;

#[derive(RustEmbed)]
#[folder = "../target/dist/page"]
#[allow_missing = true]
struct Files;

static PACKED: LazyLock<HashMap<String, Packed>> = LazyLock::new(|| {
    let pack = |name: &str| Some((name.to_owned(), Packed::new(kind(name), Files::get(name)?.data.into_owned())));
    Files::iter().filter_map(|name| pack(&name)).collect()
});

/// What the page may load and execute: its own files, and the one script that stands in `index.html` itself.
pub static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let page = Files::get("index.html").map(|file| file.data).unwrap_or_default();
    let script =
        inline_script(&page).map(|script| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script))));
    let script = script.unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' {script}; connect-src 'self'; style-src 'self'; \
         img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // Base64 is ASCII, like the rest.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// What stands between the tags of the first script without a file.
fn inline_script(page: &[u8]) -> Option<&str> {
    let (_, rest) = std::str::from_utf8(page).ok()?.split_once("<script>")?;
    rest.split_once("</script>").map(|(script, _)| script)
}

/// Compresses all files, which takes a moment, so that the first page need not wait for it.
pub fn pack() {
    std::thread::spawn(|| LazyLock::force(&PACKED).len());
}

/// The page. A learner without a cookie gets one.
pub async fn index(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let known = match learner(&headers, &site) {
        Ok(known) => known,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(file) = PACKED.get("index.html") else {
        let message = "this newroot was built without its page; build it with `cargo xtask run`\n";
        return (StatusCode::NOT_FOUND, message).into_response();
    };
    let mut response = file.answer(&headers);
    // The page names its assets by their content, so only the page itself can be out of date.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if known.is_none() {
        let Ok(newcomer) = Learner::new() else {
            return (StatusCode::INTERNAL_SERVER_ERROR, "the kernel has no random numbers\n").into_response();
        };
        let cookie = site.learners.cookie(&newcomer);
        let cookie = format!("{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// One of the page's files; its name changes with its content, so it may be kept for ever.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match PACKED.get(&format!("assets/{name}")) {
        Some(file) => {
            let mut response = file.answer(&headers);
            let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
            response.headers_mut().insert(header::CACHE_CONTROL, forever);
            response
        }
        None => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}
