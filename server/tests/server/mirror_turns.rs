//! Labs that ask for too much: each has turns of its own at the upstream, waits in a queue of its own, and keeps no other
//! waiting.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use newroot::registry::{Digest, Limits};
use tar::EntryType;

use crate::common::mirror::{Gate, Mirror, Parrot, Sluggish, noise};
use crate::common::playground::{HOST, Playground};
use crate::common::{Layer, Registry, busybox, names_in, pull, text_of, until};

/// A digest that nobody has.
fn random_digest() -> String {
    Digest::of(&noise(32)).as_str().to_owned()
}

/// Sends a request, and does not wait for the answer.
fn send(mirror: &Mirror, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(mirror.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: mirror\r\n\r\n").unwrap();
    stream
}

/// Sends so many requests at once; returns the heads of the first answers, and the connections of all.
fn answers(mirror: &Mirror, paths: Vec<String>, wanted: usize) -> (Vec<String>, Vec<TcpStream>) {
    let (tell, told) = std::sync::mpsc::channel();
    let streams: Vec<_> = paths.iter().map(|path| send(mirror, path)).collect();
    for stream in &streams {
        let (mut reader, tell) = (BufReader::new(stream.try_clone().unwrap()), tell.clone());
        std::thread::spawn(move || {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|count| count > 0) {}
            let _ = tell.send(head.to_lowercase());
        });
    }
    ((0..wanted).map(|_| told.recv().unwrap()).collect(), streams)
}

#[test]
fn a_lab_that_asks_for_much_has_its_turns_and_a_queue_with_an_end_and_keeps_no_other_waiting() {
    let registry = Registry::start();
    registry.push("library/alpine", &[busybox().gzip()]);
    for kind in ["blobs", "manifests"] {
        let upstream = Sluggish::start(registry.address());
        let (state, fs_directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mirror = Mirror::start(state.path(), Some(&upstream.url()));
        let paths = (0..32).map(|_| format!("/v2/slow/x/{kind}/{}", random_digest())).collect();
        // Four have a turn and sixteen wait.
        let (refused, streams) = answers(&mirror, paths, 12);
        for head in refused {
            assert!(head.starts_with("http/1.1 429") && head.contains("\r\nretry-after: 5\r\n"), "{kind}: {head}");
        }
        upstream.until(|held| held.now == 4);
        assert_eq!(
            names_in(&state.path().join("cache/unfinished")),
            [""; 0],
            "nothing is opened for what may not come"
        );
        let output = pull(&mirror.of_another_lab().url(), fs_directory.path(), "alpine");
        assert!(output.status.success(), "{kind}: {}", text_of(&output));
        // What it no longer waits for is dropped, and what was still to have its turn is never asked for.
        streams.into_iter().for_each(|stream| stream.shutdown(std::net::Shutdown::Both).unwrap());
        let held = upstream.until(|held| held.now == 0);
        assert_eq!(held.most, 4, "{kind}");
    }
}

#[test]
fn requests_that_are_cut_off_take_no_turn_from_anybody() {
    let registry = Registry::start();
    let digest = registry.push("library/alpine", &[busybox().gzip()]).remove(0);
    let upstream = Sluggish::start(registry.address());
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&upstream.url()));
    for number in 1..=40 {
        let asked = send(&mirror, &format!("/v2/slow/x/blobs/{}", random_digest()));
        // Each reaches the upstream before it is given up, as long as turns become free again.
        upstream.until(|held| held.ever >= number);
        drop(asked);
    }
    // And what is given up before it was read leaves the queue.
    (0..40).for_each(|_| drop(send(&mirror, &format!("/v2/slow/x/blobs/{}", random_digest()))));
    let (head, body) = mirror.get(&format!("/v2/library/alpine/blobs/{}", digest.as_str()));
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(Digest::of(&body), digest, "even of the same lab");
    assert!(upstream.until(|held| held.now == 0).most <= 4);
}

#[test]
fn a_blob_that_one_lab_waits_for_comes_in_the_turn_of_another() {
    let registry = Registry::start();
    let digest = registry.push("library/alpine", &[busybox().gzip()]).remove(0);
    let path = format!("/v2/library/alpine/blobs/{}", digest.as_str());
    let upstream = Sluggish::start(registry.address());
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&upstream.url()));
    let _busy: Vec<_> = (0..4).map(|_| send(&mirror, &format!("/v2/slow/x/blobs/{}", random_digest()))).collect();
    upstream.until(|held| held.now == 4);
    // It has no turn left; the other has.
    let mut waits = send(&mirror, &path);
    assert_eq!(Digest::of(&mirror.of_another_lab().get(&path).1), digest);
    let mut first = [0; 15];
    waits.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
}

#[test]
fn what_has_begun_to_come_goes_on_for_a_while_without_anybody_who_waits() {
    let registry = Registry::start();
    let layer = Layer::new().entry(EntryType::Regular, "large", 0o644, "", &noise(1 << 20)).gzip();
    let digest = registry.push("library/large", &[layer]).remove(0);
    let path = format!("/v2/library/large/blobs/{}", digest.as_str());
    let read_and_go = |mirror: &Mirror| {
        let (_, mut stream) = mirror.begin(&format!("GET {path} HTTP/1.1\r\n"));
        stream.read_exact(&mut vec![0; 200_000]).unwrap();
    };
    let gate = Gate::start(registry.address(), 600_000);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&gate.url()));
    read_and_go(&mirror);
    gate.open();
    assert_eq!(Digest::of(&mirror.get(&path).1), digest);
    // Where the while is none, it is dropped with what there is, and begun anew for whoever asks next.
    let gate = Gate::start(registry.address(), 600_000);
    let state = tempfile::tempdir().unwrap();
    let limits = Limits { grace: Duration::ZERO, ..Limits::default() };
    let mirror = Mirror::start_with(state.path(), &gate.url(), limits);
    read_and_go(&mirror);
    until(|| names_in(&state.path().join("cache/unfinished")).is_empty());
    gate.open();
    assert_eq!(Digest::of(&mirror.get(&path).1), digest);
    assert_eq!(registry.count_requests(&format!("GET {path}")), 3, "once for the first mirror, twice for the second");
}

#[test]
fn a_lab_that_asks_for_what_nobody_has_is_soon_told_to_wait_and_no_other_lab_is() {
    let unknown = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":""}]}"#;
    let length = unknown.len();
    let upstream = Parrot::start(format!(
        "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{unknown}"
    ));
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&upstream.url()));
    for kind in ["blobs", "manifests"] {
        let mirror = mirror.of_another_lab();
        let ask = || mirror.get(&format!("/v2/library/x/{kind}/{}", random_digest())).0;
        assert!(ask().starts_with("http/1.1 404"));
        let refused =
            (0..1000).map(|_| ask()).find(|head| head.starts_with("http/1.1 429")).expect("it goes on for ever");
        assert!(refused.contains("\r\nretry-after: "), "{refused}");
        let request = format!("GET /v2/library/x/blobs/{}", random_digest());
        let message = mirror.refuses(&request, 429, "TOOMANYREQUESTS");
        assert!(message.contains("does not exist or cannot be had; ask again in "), "{message}");
        mirror.of_another_lab().refuses(&request, 404, "BLOB_UNKNOWN");
    }
}

/// Has a lab ask for blobs that do not come, as often as it can. Its connections stay.
const STARVE: &str = "for i in $(seq 1 32); do (printf \"GET /v2/slow/x/blobs/sha256:%064x HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\" $i; \
                      sleep 1000) | nc 127.0.0.1 5000 >/dev/null 2>&1 & done; echo started";

#[tokio::test]
async fn a_lab_cannot_keep_another_labs_pull_waiting() {
    let registry = Registry::start();
    registry.push("library/alpine", &[busybox().gzip()]);
    let upstream = Sluggish::start(registry.address());
    let playground = Playground::start(Some(&upstream.url()));
    let mut hostile = playground.open(&playground.new_cookie()).await;
    let mut neighbour = playground.open(&playground.new_cookie()).await;
    assert!(hostile.output_of(HOST, STARVE).await.contains("started"));
    upstream.until(|held| held.now == 4);
    let said = neighbour.output_of(HOST, "newroot pull alpine").await;
    assert!(said.contains("Pulling done"), "{said}");
    assert_eq!(upstream.until(|held| held.now > 0).most, 4);
    let said = hostile.output_of(HOST, "killall nc; newroot pull alpine").await;
    assert!(said.contains("Pulling done"), "{said}");
}

#[tokio::test]
async fn without_turns_of_its_own_each_lab_depends_on_all_others() {
    let registry = Registry::start();
    let upstream = Sluggish::start(registry.address());
    let playground = Playground::start_with(&["--upstream", &upstream.url(), "--without", "turns"]);
    let mut hostile = playground.open(&playground.new_cookie()).await;
    assert!(hostile.output_of(HOST, STARVE).await.contains("started"));
    // All that there are; and that they are given up frees none.
    upstream.until(|held| held.now == 16);
    assert!(hostile.output_of(HOST, "killall nc; echo gone").await.contains("gone"));
    assert_eq!(upstream.until(|held| held.now > 0).now, 16);
}
