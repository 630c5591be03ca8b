//! Content that never changes while the server runs, compressed once, for browsers that take it so: all of them.

use std::io::{self, Write};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Content, and the same by gzip where that is smaller. (Brotli would be smaller still, but browsers take it only over
/// TLS, and most classrooms have none.)
pub struct Packed {
    kind: &'static str,
    plain: Bytes,
    gzip: Option<Bytes>,
}

impl Packed {
    /// Compresses content of a media type.
    pub fn new(kind: &'static str, plain: Vec<u8>) -> Packed {
        let gzip = gzip(&plain).ok().filter(|gzip| gzip.len() < plain.len()).map(Bytes::from);
        Packed { kind, plain: plain.into(), gzip }
    }

    /// The content as the asker's `Accept-Encoding` has it.
    pub fn answer(&self, headers: &HeaderMap) -> Response {
        let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let mut accepted = accepted.flat_map(|value| value.split(','));
        let gzip = self.gzip.as_ref().filter(|_| accepted.any(|one| one.trim() == "gzip"));
        let mut response = gzip.unwrap_or(&self.plain).clone().into_response();
        let mut set = |name, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, self.kind);
        set(header::VARY, "accept-encoding");
        if gzip.is_some() {
            set(header::CONTENT_ENCODING, "gzip");
        }
        response
    }
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn asked(packed: &Packed, accept: &'static str) -> Response {
        packed.answer(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))]))
    }

    #[tokio::test]
    async fn who_takes_gzip_gets_the_same_content_in_fewer_bytes() {
        let text = "mount ".repeat(500);
        let packed = Packed::new("text/plain", text.clone().into_bytes());
        let response = asked(&packed, "br;q=1.0, gzip");
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory");
        assert!(body.len() < text.len());
        let mut again = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut again).expect("gzip");
        assert_eq!(again, text);
    }

    #[test]
    fn who_does_not_and_what_would_grow_is_sent_as_it_is() {
        let long = Packed::new("text/plain", vec![b'a'; 1000]);
        for (packed, accept) in
            [(&long, "identity"), (&long, "gzip;q=0"), (&Packed::new("text/plain", vec![b'a']), "gzip")]
        {
            let response = asked(packed, accept);
            assert!(!response.headers().contains_key(header::CONTENT_ENCODING), "{accept}");
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
        }
    }
}
