//! The registry mirror over real HTTP, with a real registry upstream and `newroot pull` as its client. Runs as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{Layer, Registry, busybox, names_in, pull, text_of};
use newroot::http::mirror;
use newroot::registry::{Digest, Store, Upstream, lab_rootfs};
use tempfile::TempDir;

/// A mirror on a free port, served until the end of the test.
struct Mirror {
    address: String,
    _runtime: tokio::runtime::Runtime,
}

impl Mirror {
    fn start(state: &Path, upstream: Option<&str>) -> Mirror {
        newroot::runtime::ensure_certificates().unwrap();
        let upstream = upstream.map(|url| Upstream::new(url.parse().unwrap()).unwrap());
        let store = Arc::new(Store::open(state, upstream).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        runtime.spawn(async move { axum::serve(listener, mirror::router(store)).await });
        Mirror { address, _runtime: runtime }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request as it is; returns the head and the body of the answer.
    fn ask(&self, request: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{request}Host: mirror\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let body = answer.split_off(end + 4);
        (String::from_utf8(answer).unwrap().to_lowercase(), body)
    }

    fn get(&self, path: &str) -> (String, Vec<u8>) {
        self.ask(&format!("GET {path} HTTP/1.1\r\n"))
    }

    /// Asserts that a request is refused with this status and code, in the specification's form.
    fn refuses(&self, request: &str, status: u16, code: &str) {
        let (head, body) = self.ask(request);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{request}: {head}");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json.pointer("/errors/0/code").and_then(|code| code.as_str()), Some(code), "{request}");
    }
}

/// The blobs in a mirror's cache.
fn cached(state: &TempDir) -> Vec<String> {
    assert_eq!(names_in(&state.path().join("cache/unfinished")), [""; 0]);
    names_in(&state.path().join("cache/blobs/sha256"))
}

#[test]
fn what_was_pulled_once_is_served_without_the_upstream() {
    let registry = Registry::start();
    let digests = registry.push("library/alpine", &[busybox().gzip(), Layer::new().file("x", "y").gzip()]);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let first = tempfile::tempdir().unwrap();
    let output = pull(&mirror.url(), first.path(), "alpine");
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(fs::read_to_string(first.path().join("alpine/rootfs/x")).unwrap(), "y");
    for digest in &digests {
        assert!(cached(&state).contains(&digest.hex().to_owned()));
    }
    drop(registry);
    drop(mirror);

    // A day later the tag is no longer believed; but with the upstream out of reach the old answer is better than none.
    let tag = fs::File::open(state.path().join("cache/tags/library/alpine/:latest")).unwrap();
    tag.set_modified(SystemTime::now() - Duration::from_secs(86400)).unwrap();
    let mirror = Mirror::start(state.path(), Some("http://127.0.0.1:1"));
    let second = tempfile::tempdir().unwrap();
    let output = pull(&mirror.url(), second.path(), "alpine");
    assert!(output.status.success(), "{}", text_of(&output));
    let output = pull(&mirror.url(), second.path(), "never-seen");
    assert!(
        text_of(&output).contains("the mirror cannot reach 127.0.0.1:1: Connection refused"),
        "{}",
        text_of(&output)
    );
}

#[test]
fn a_tag_is_believed_for_minutes_and_not_for_a_day() {
    let registry = Registry::start();
    registry.push("library/alpine", &[Layer::new().file("old", "").gzip()]);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let (_, old) = mirror.get("/v2/library/alpine/manifests/latest");
    registry.push("library/alpine", &[Layer::new().file("new", "").gzip()]);
    assert_eq!(mirror.get("/v2/library/alpine/manifests/latest").1, old);
    let tag = fs::File::open(state.path().join("cache/tags/library/alpine/:latest")).unwrap();
    tag.set_modified(SystemTime::now() - Duration::from_secs(86400)).unwrap();
    assert_ne!(mirror.get("/v2/library/alpine/manifests/latest").1, old);
}

#[test]
fn many_who_ask_for_a_blob_all_get_it_and_the_upstream_is_asked_once() {
    let registry = Registry::start();
    let digests = registry.push("library/alpine", &[busybox().gzip()]);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let path = format!("/v2/library/alpine/blobs/{}", digests[0].as_str());
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| mirror.get(&path))).collect();
        for answer in asked {
            let (head, body) = answer.join().unwrap();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            assert_eq!(Digest::of(&body), digests[0]);
        }
    });
    assert_eq!(cached(&state), [digests[0].hex()]);
    assert_eq!(registry.count_requests(&format!("GET {path}")), 1);
}

#[test]
fn a_corrupted_blob_is_not_kept_and_not_served() {
    let registry = Registry::start();
    let digests = registry.push("library/alpine", &[Layer::new().file("x", "content").gzip()]);
    let blob = registry.blob_file(&digests[0]);
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    mirror.refuses(
        &format!("GET /v2/library/alpine/blobs/{} HTTP/1.1\r\n", digests[0].as_str()),
        502,
        "DIGEST_INVALID",
    );
    assert_eq!(cached(&state), [""; 0]);
    let fs_directory = tempfile::tempdir().unwrap();
    let output = pull(&mirror.url(), fs_directory.path(), "alpine");
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains("something else than was asked for"), "{}", text_of(&output));
    assert_eq!(names_in(fs_directory.path()), [""; 0]);
}

#[test]
fn the_embedded_image_needs_no_upstream() {
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), None);
    let fs_directory = tempfile::tempdir().unwrap();
    for name in ["busybox", "library/busybox"] {
        let output = pull(&mirror.url(), fs_directory.path(), name);
        assert!(output.status.success(), "{}", text_of(&output));
    }
    assert!(fs_directory.path().join("busybox/rootfs/bin/busybox").is_file());
    mirror.refuses("GET /v2/library/alpine/manifests/latest HTTP/1.1\r\n", 404, "MANIFEST_UNKNOWN");
    mirror.refuses("GET /v2/library/busybox/manifests/other HTTP/1.1\r\n", 404, "MANIFEST_UNKNOWN");
}

#[test]
fn the_labs_rootfs_is_unpacked_once() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::open(state.path(), None).unwrap();
    let rootfs = lab_rootfs(&store).unwrap();
    assert_eq!(rootfs.parent().unwrap().parent().unwrap(), state.path().join("images"));
    let busybox = fs::metadata(rootfs.join("bin/busybox")).unwrap();
    assert_eq!((busybox.uid(), busybox.gid(), busybox.mode() & 0o111), (0, 0, 0o111));
    assert_eq!(fs::metadata(rootfs.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    let inode = fs::metadata(&rootfs).unwrap().ino();
    let again = lab_rootfs(&store).unwrap();
    assert_eq!((&again, fs::metadata(&again).unwrap().ino()), (&rootfs, inode), "the second call unpacks nothing");
    assert_eq!(names_in(&state.path().join("images")).len(), 1);
    assert_eq!(fs::metadata(rootfs.parent().unwrap()).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn it_answers_as_the_specification_says() {
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), None);
    let (head, body) = mirror.get("/v2/");
    assert!(head.starts_with("http/1.1 200") && body == b"{}", "{head}");
    let (head, manifest) = mirror.get("/v2/library/busybox/manifests/latest");
    assert!(head.contains("content-type: application/vnd.oci.image.manifest.v1+json"), "{head}");
    assert!(head.contains(&format!("docker-content-digest: {}", Digest::of(&manifest).as_str())), "{head}");
    let (by_head, nothing) = mirror.ask("HEAD /v2/library/busybox/manifests/latest HTTP/1.1\r\n");
    assert!(by_head.contains(&format!("content-length: {}", manifest.len())) && nothing.is_empty(), "{by_head}");
    let json: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let digest = json.pointer("/layers/0/digest").unwrap().as_str().unwrap();
    let (_, blob) = mirror.get(&format!("/v2/busybox/blobs/{digest}"));
    assert_eq!(Digest::of(&blob).as_str(), digest);
    let (head, part) = mirror.ask(&format!("GET /v2/busybox/blobs/{digest} HTTP/1.1\r\nRange: bytes=10-19\r\n"));
    assert!(head.starts_with("http/1.1 206") && head.contains("content-range: bytes 10-19/"), "{head}");
    assert_eq!(part, blob[10..20]);
}

#[test]
fn hostile_requests_are_refused() {
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let digest = Digest::of(b"nothing");
    for (request, status, code) in [
        ("GET /v2/../../etc/passwd/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/a/%2e%2e/b/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/a%00b/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/UPPER/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/alpine/manifests/..", 404, "MANIFEST_UNKNOWN"),
        ("GET /v2/alpine/manifests/missing", 404, "MANIFEST_UNKNOWN"),
        ("GET /v2/alpine/blobs/sha256:short", 400, "DIGEST_INVALID"),
        ("GET /v2/alpine/blobs/sha256:..%2f..%2fetc%2fpasswd", 404, "UNSUPPORTED"),
        (&format!("GET /v2/alpine/blobs/{}", digest.as_str()), 404, "BLOB_UNKNOWN"),
        ("GET /v2/_catalog", 404, "UNSUPPORTED"),
        ("POST /v2/alpine/blobs/uploads/", 405, "UNSUPPORTED"),
        ("DELETE /v2/alpine/manifests/latest", 405, "UNSUPPORTED"),
    ] {
        mirror.refuses(&format!("{request} HTTP/1.1\r\n"), status, code);
    }
    assert_eq!(cached(&state), [""; 0]);
}
