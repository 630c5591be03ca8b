//! Blobs that are served while they arrive, over lines that are slow, cut or lying.

use std::fs;
use std::io::Read;

use newroot::registry::Digest;
use tar::EntryType;

use crate::common::mirror::{Gate, Mirror, Parrot, noise};
use crate::common::proxy::{Proxy, Trouble};
use crate::common::{Layer, Registry, names_in};

/// A registry with an image of one layer that does not compress.
fn registry_with_large_layer(length: u64) -> (Registry, Digest, String) {
    let registry = Registry::start();
    let layer = Layer::new().entry(EntryType::Regular, "large", 0o644, "", &noise(length)).gzip();
    let digest = registry.push("library/large", &[layer]).remove(0);
    let path = format!("/v2/library/large/blobs/{}", digest.as_str());
    (registry, digest, path)
}

#[test]
fn a_blob_is_served_while_it_arrives_to_all_who_ask() {
    let (registry, digest, path) = registry_with_large_layer(1 << 20);
    let gate = Gate::start(registry.address(), 600_000);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&gate.url()));
    let mut clients: Vec<_> = (0..3).map(|_| mirror.begin(&format!("GET {path} HTTP/1.1\r\n"))).collect();
    // Somebody who was cut off goes on where it was.
    clients.push(mirror.begin(&format!("GET {path} HTTP/1.1\r\nRange: bytes=300000-\r\n")));
    assert!(clients[3].0.contains("206 partial content") && clients[3].0.contains("content-range: bytes 300000-"));
    let mut bodies = vec![vec![0; 200_000]; 4];
    for ((head, stream), body) in clients.iter_mut().zip(&mut bodies) {
        assert!(head.contains("content-length: "), "{head}");
        stream.read_exact(body).unwrap();
    }
    assert_eq!(names_in(&state.path().join("cache/blobs/sha256")), [""; 0], "it has not arrived yet");
    gate.open();
    for ((_, stream), body) in clients.iter_mut().zip(&mut bodies) {
        stream.read_to_end(body).unwrap();
    }
    for body in &bodies[..3] {
        assert_eq!(Digest::of(body), digest);
    }
    assert_eq!(bodies[3], bodies[0][300_000..]);
    assert_eq!(names_in(&state.path().join("cache/blobs/sha256")), [digest.hex()]);
    assert_eq!(registry.count_requests(&format!("GET {path}")), 1);
}

#[test]
fn nobody_gets_the_whole_of_a_blob_with_a_wrong_digest() {
    let (registry, digest, path) = registry_with_large_layer(1 << 20);
    let file = registry.blob_file(&digest);
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&file, bad).unwrap();
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let (head, body) = mirror.get(&path);
    assert!(head.contains(&format!("content-length: {}", good.len())), "{head}");
    assert!(body.len() < good.len(), "the end is missing, so that no client takes it for the whole");
    assert_eq!(names_in(&state.path().join("cache/blobs/sha256")), [""; 0]);
    fs::write(&file, &good).unwrap();
    assert!(mirror.get(&path).1 == good, "the next request heals");
}

#[test]
fn a_cut_line_to_the_upstream_is_not_noticed_by_clients() {
    use Trouble::{CutAfter, Unavailable};
    let (registry, digest, path) = registry_with_large_layer(1 << 20);
    let proxy = Proxy::start(registry.address(), [Unavailable, CutAfter(400_000), Unavailable, CutAfter(300_000)]);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&proxy.url()));
    let (head, body) = mirror.get(&path);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(Digest::of(&body), digest);
    let passed = proxy.passed();
    assert!((1 << 20..(1 << 20) + 100_000).contains(&passed), "{passed} bytes: none comes twice");
}

#[test]
fn an_upstream_in_trouble_is_given_up_with_an_error() {
    let (registry, _, path) = registry_with_large_layer(1 << 20);
    let state = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(registry.address(), std::iter::repeat(Trouble::Unavailable));
    let mirror = Mirror::start(state.path(), Some(&proxy.url()));
    let message = mirror.refuses(&format!("GET {path}"), 503, "UNAVAILABLE");
    assert!(message.contains("is in trouble: status 503"), "{message}");
    assert_eq!(names_in(&state.path().join("cache/unfinished")), [""; 0]);
}

#[test]
fn an_upstream_that_tells_no_size_or_an_absurd_one_is_no_danger() {
    let digest = Digest::of(b"hello");
    let path = |digest: &Digest| format!("/v2/library/x/blobs/{}", digest.as_str());
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n";
    let state = tempfile::tempdir().unwrap();
    let whole = Parrot::start(format!("{chunked}0\r\n\r\n"));
    let mirror = Mirror::start(state.path(), Some(&whole.url()));
    let (head, body) = mirror.get(&path(&digest));
    let body = String::from_utf8(body).unwrap();
    assert!(head.starts_with("http/1.1 200") && (body == "hello" || body.ends_with("\r\n0\r\n\r\n")), "{head}{body}");
    assert_eq!(mirror.get(&path(&digest)).1, b"hello", "now it is cached");
    // Another digest, and an end that does not come: in no case does the answer look complete.
    let cut = Parrot::start(chunked);
    for (upstream, digest) in [(&whole, Digest::of(b"other")), (&cut, Digest::of(b"hello, world"))] {
        let mirror = Mirror::start(state.path(), Some(&upstream.url()));
        let answer = mirror.ask_bare(&format!("GET {} HTTP/1.1\r\n", path(&digest)));
        let looks_complete = answer.ends_with("0\r\n\r\n") || answer.to_lowercase().contains("content-length");
        assert!(!answer.starts_with("HTTP/1.1 2") || !looks_complete, "{answer}");
    }
    let absurd = Parrot::start("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nhello");
    let mirror = Mirror::start(state.path(), Some(&absurd.url()));
    let message = mirror.refuses(&format!("GET {}", path(&Digest::of(b"absurd"))), 502, "DIGEST_INVALID");
    assert!(message.contains("more than 16 GiB"), "{message}");
    assert_eq!(names_in(&state.path().join("cache/blobs/sha256")), [digest.hex()]);
}
