//! A blob as an answer: the whole, or the range that was asked for (RFC 9110, section 14), as its bytes come.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::in_flight::{InFlight, counted};
use super::refusal::Refusal;
use super::{CONTENT_DIGEST, digest_value, etag};
use crate::registry::{Blob, Digest};

/// How many bytes are read at a time.
const PIECE: u64 = 128 << 10;

/// A part of a blob.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// All of it: nothing else was asked for, or nothing that could be understood.
    Whole,
    /// So many bytes from a place on.
    Part(u64, u64),
    /// Nothing, for it lies behind the end.
    Behind,
}

/// The answer to `HEAD`.
pub fn head(size: Option<u64>, digest: &Digest) -> Response {
    respond(StatusCode::OK, size, digest, Body::empty())
}

/// The answer to `GET`.
pub fn serve(blob: Blob, digest: &Digest, headers: &HeaderMap, in_flight: InFlight) -> Result<Response, Refusal> {
    let size = blob.size();
    // A blob of unknown size is served as a whole, as the RFC allows.
    let range = match (size, only(headers, header::RANGE).and_then(|range| range.to_str().ok())) {
        (Some(size), Some(range)) if is_still_meant(headers, digest) => parse_range(range, size),
        _ => Range::Whole,
    };
    match (range, size) {
        (Range::Behind, size) => Err(Refusal::Range(size.unwrap_or_default())),
        (Range::Part(first, count), Some(size)) => {
            let body = stream(blob, first, count, in_flight);
            let mut response = respond(StatusCode::PARTIAL_CONTENT, Some(count), digest, body);
            let range = HeaderValue::from_str(&format!("bytes {first}-{}/{size}", first + count - 1));
            response.headers_mut().extend(range.ok().map(|range| (header::CONTENT_RANGE, range)));
            Ok(response)
        }
        _ => Ok(respond(StatusCode::OK, size, digest, stream(blob, 0, size.unwrap_or(u64::MAX), in_flight))),
    }
}

fn respond(status: StatusCode, size: Option<u64>, digest: &Digest, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.extend(size.map(|size| (header::CONTENT_LENGTH, size.into())));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, etag(digest));
    headers.insert(CONTENT_DIGEST, digest_value(digest));
    response
}

/// Whether a range is of the content that the client has in mind (`If-Range`).
fn is_still_meant(headers: &HeaderMap, digest: &Digest) -> bool {
    !headers.contains_key(header::IF_RANGE) || only(headers, header::IF_RANGE) == Some(&etag(digest))
}

/// The value of a header that is there once. Of several, none is better than another.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// One range: `bytes=A-B`, `bytes=A-` or `bytes=-N`. Several, or what is none, count as none.
fn parse_range(text: &str, size: u64) -> Range {
    let parsed = text.strip_prefix("bytes=").and_then(|range| {
        let number = |text: &str| text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        match range.trim().split_once('-')? {
            ("", count) => Some((size.saturating_sub(number(count)?), size)),
            (first, "") => Some((number(first)?, size)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some((first, last.saturating_add(1).min(size)))
            }
        }
    });
    match parsed {
        None => Range::Whole,
        Some((first, end)) if first < end => Range::Part(first, end - first),
        Some(_) => Range::Behind,
    }
}

/// So many bytes of a blob from a place on. If they do not come, the body ends with an error: then hyper cuts the
/// connection, and no client takes what it has for the whole.
fn stream(blob: Blob, first: u64, count: u64, in_flight: InFlight) -> Body {
    let start = (blob, first, count, in_flight);
    Body::from_stream(futures_util::stream::try_unfold(start, |(blob, place, left, in_flight)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let room = in_flight.take(left.min(PIECE)).await;
        let piece = blob.read(place, left.min(PIECE)).await?;
        let length = piece.len() as u64;
        // Shorter than its size: hyper notices that by itself, and cuts the connection.
        Ok((length > 0).then_some((counted(piece, room), (blob, place + length, left - length, in_flight))))
    }))
}

#[cfg(test)]
mod tests {
    use super::{Range, parse_range};

    #[test]
    fn one_range_or_the_whole() {
        assert_eq!(parse_range("bytes=0-9", 100), Range::Part(0, 10));
        assert_eq!(parse_range("bytes=90-", 100), Range::Part(90, 10));
        assert_eq!(parse_range("bytes=-10", 100), Range::Part(90, 10));
        assert_eq!(parse_range("bytes=-1000", 100), Range::Part(0, 100));
        assert_eq!(parse_range("bytes=50-18446744073709551615", 100), Range::Part(50, 50));
        for text in ["bytes=9-8", "bytes=0-1,5-6", "bytes=-", "lines=0-1", "", "bytes=a-b", "bytes=+1-2"] {
            assert_eq!(parse_range(text, 100), Range::Whole, "{text}");
        }
        for text in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(parse_range(text, 100), Range::Behind, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Range::Behind);
    }
}
