//! Connections that take without end: of memory, of places, of time. Each attack is also seen to succeed.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::common::mirror::Parrot;
use crate::common::playground::{CONTAINER, HOST, NO_UPSTREAM, Playground};
use crate::common::raw::{Raw, forget_peak, peak, until};
use crate::common::{cgroups_of, names_in};

/// Where a lab's programs find their mirror.
const MIRROR: &str = "127.0.0.1:5000";
/// What begins a connection of HTTP/2 (RFC 9113, section 3.4), with settings after which streams may be answered with as
/// much as there is, and so may the connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x0c\x04\x00\x00\x00\x00\x00\x00\x04\x7f\xff\xff\xff\x00\x03\x00\x00\x03\xe8\
    \x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\x00\x00";
/// The type of the frame that each server of HTTP/2 begins with.
const SETTINGS: u8 = 4;

/// Opens connections from inside of the one lab of a playground, as its programs do.
fn open_in_lab(playground: &Playground, lab: &str, connections: usize) -> Vec<Raw> {
    let is_shell = |process: &Path| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).next().is_some_and(|program| program.ends_with(b"sh"))
    };
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let shell = processes.into_iter().find(|process| cgroups_of(process).contains(lab) && is_shell(process));
    let network = File::open(shell.expect("a shell of the lab").join("ns/net")).unwrap();
    assert!(names_in(&playground.labs()).contains(&lab.to_owned()));
    // A thread of its own, for it stays in there.
    let opening = std::thread::spawn(move || {
        setns(network, CloneFlags::CLONE_NEWNET).unwrap();
        (0..connections).map(|_| TcpStream::connect(MIRROR).unwrap()).collect::<Vec<_>>()
    });
    opening.join().unwrap().into_iter().map(Raw::of).collect()
}

/// A server with one lab, and that lab's name.
async fn with_a_lab(flags: &[&str]) -> (Playground, String) {
    let playground = Playground::start_with(flags);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.output_of(HOST, "true").await;
    let lab = names_in(&playground.labs()).remove(0);
    (playground, lab)
}

/// A frame of HTTP/2 that asks for this path, and ends the request (RFC 9113, section 6.2; RFC 7541, section 6.2.2).
fn ask_for(stream: u32, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "x")] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    let mut frame = (block.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([1, 5]);
    frame.extend((stream * 2 + 1).to_be_bytes());
    frame.extend(block);
    frame
}

/// A path at which the mirror has a megabyte, out of this binary.
async fn large_blob(playground: &Playground, lab: &str) -> String {
    let manifest = "GET /v2/library/busybox/manifests/latest HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = open_in_lab(playground, lab, 1).remove(0).say(manifest).rest();
    let answer = String::from_utf8(answer).unwrap();
    let json: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    format!("/v2/library/busybox/blobs/{}", json.pointer("/layers/0/digest").unwrap().as_str().unwrap())
}

#[tokio::test]
async fn neither_page_nor_mirror_speaks_http_2() {
    let (playground, lab) = with_a_lab(&["--upstream", NO_UPSTREAM]).await;
    let mirror = open_in_lab(&playground, &lab, 1).remove(0);
    for connection in [Raw::open(playground.address()), mirror] {
        let answer = connection.say(PREFACE).rest();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&answer));
    }
    // Nor is it changed to on the way.
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    let request = format!("GET /v2/ HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n");
    let answer = open_in_lab(&playground, &lab, 1).remove(0).say(request).line();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_lab_that_asks_by_http_2_for_hundreds_of_blobs_takes_no_memory() {
    let (playground, lab) = with_a_lab(&["--upstream", NO_UPSTREAM]).await;
    let path = large_blob(&playground, &lab).await;
    forget_peak(playground.pid()).unwrap();
    let before = peak(playground.pid());
    let requests: Vec<u8> = (0..20).flat_map(|stream| ask_for(stream, &path)).collect();
    for connection in open_in_lab(&playground, &lab, 32) {
        let answer = connection.say(PREFACE).say(&requests).rest();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&answer));
    }
    let after = peak(playground.pid());
    assert!(after < before + (32 << 10), "{before} KiB became {after}");
}

#[tokio::test]
async fn without_the_defences_http_2_takes_the_servers_memory() {
    let without = ["--without", "http-one", "--without", "mirror-bytes"];
    let (playground, lab) = with_a_lab(&[&["--upstream", NO_UPSTREAM], &without[..]].concat()).await;
    let path = large_blob(&playground, &lab).await;
    forget_peak(playground.pid()).unwrap();
    let before = peak(playground.pid());
    let requests: Vec<u8> = (0..20).flat_map(|stream| ask_for(stream, &path)).collect();
    let connections = open_in_lab(&playground, &lab, 32).into_iter().map(Raw::with_little_room);
    let _held: Vec<_> = connections.map(|connection| connection.say(PREFACE).say(&requests)).collect();
    until("the server has a hundred megabytes more", || peak(playground.pid()) > before + (100 << 10));
    let frame = Raw::open(playground.address()).say(PREFACE).bytes(9);
    assert_eq!(frame[3], SETTINGS, "the page's server speaks it too");
}

/// A registry with one manifest under each name, nearly as large as manifests may be.
fn large_manifests() -> Parrot {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
        "annotations": { "long": "x".repeat(3 << 20) },
    });
    let manifest = manifest.to_string();
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/vnd.oci.image.index.v1+json";
    Parrot::start(format!("{head}\r\nContent-Length: {}\r\n\r\n{manifest}", manifest.len()))
}

const MANIFEST: &str = "GET /v2/library/large/manifests/latest HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_lab_that_takes_nothing_of_what_it_asked_for_holds_little_and_holds_up_nobody() {
    let registry = large_manifests();
    let playground = Playground::start_with(&["--upstream", &registry.url()]);
    let mut greedy = playground.open(&playground.new_cookie()).await;
    greedy.output_of(HOST, "true").await;
    let lab = names_in(&playground.labs()).remove(0);
    let mut neighbour = playground.open(&playground.new_cookie()).await;
    let blob = large_blob(&playground, &lab).await;
    // It is in the cache from here on.
    assert!(open_in_lab(&playground, &lab, 1).remove(0).say(MANIFEST).line().starts_with("HTTP/1.1 200"));
    forget_peak(playground.pid()).unwrap();
    let before = peak(playground.pid());
    let blob = format!("GET {blob} HTTP/1.1\r\nHost: a\r\n\r\n");
    let held: Vec<Raw> = open_in_lab(&playground, &lab, 31)
        .into_iter()
        .enumerate()
        .map(|(place, connection)| (place, connection.with_little_room()))
        .map(|(place, connection)| connection.say(if place % 2 == 0 { MANIFEST } else { &blob }))
        .collect();
    until("two of them get theirs", || held.iter().filter(|connection| connection.has_come()).count() >= 2);
    assert!(neighbour.output_of(HOST, "newroot pull busybox").await.contains("Pulling done"));
    assert!(neighbour.output_of(CONTAINER, "newroot pull large; echo status $?").await.contains("status 1"));
    let after = peak(playground.pid());
    // Two are in memory for the lab, one for the neighbour, and what each reads from the disk for a moment.
    assert!(after < before + (48 << 10), "{before} KiB became {after}");
    // Who takes what it asked for gets it, after the others have gone.
    drop(held);
    let whole =
        open_in_lab(&playground, &lab, 1).remove(0).say(MANIFEST.replace("a\r\n", "a\r\nConnection: close\r\n"));
    assert!({ whole }.rest().len() > 3 << 20);
}

#[tokio::test]
async fn without_the_defence_what_nobody_takes_adds_up() {
    let registry = large_manifests();
    let flags = ["--upstream", &registry.url(), "--without", "mirror-bytes"];
    let (playground, lab) = with_a_lab(&flags).await;
    forget_peak(playground.pid()).unwrap();
    let before = peak(playground.pid());
    let connections = open_in_lab(&playground, &lab, 31).into_iter();
    let _held: Vec<_> = connections.map(|connection| connection.with_little_room().say(MANIFEST)).collect();
    until("the server has sixty megabytes more", || peak(playground.pid()) > before + (60 << 10));
}

/// Whether the kernel has the server's end of a connection as established (proc_net(5)).
fn is_established(server: SocketAddr, client: SocketAddr) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().take(4).collect();
        let has_port = |field: &str, port: u16| field.ends_with(&format!(":{port:04X}"));
        has_port(fields[1], server.port()) && has_port(fields[2], client.port()) && fields[3] == "01"
    })
}

/// Asks for much, again and again, and takes nothing of it.
fn takes_nothing(address: SocketAddr) -> Raw {
    let request = format!("GET /api/code HTTP/1.1\r\nHost: {address}\r\n\r\n");
    Raw::open(address).with_little_room().say(request.repeat(20))
}

#[test]
fn a_connection_that_is_stuck_or_idle_is_closed() {
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--http-timeout", "1s"]);
    let address = playground.address();
    let said = |bytes: &str| Raw::open(address).say(bytes).rest();
    said("");
    said("GET / HT");
    said(&format!("GET / HTTP/1.1\r\nHost: {address}\r\n"));
    // It has been answered once, and asks for nothing more.
    let idle = said(&format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert!(idle.starts_with(b"HTTP/1.1 "));
    // A body that never comes is not waited for.
    let bodiless = said(&format!("POST /api/lab HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9\r\n\r\n"));
    assert!(bodiless.starts_with(b"HTTP/1.1 413"));
    let stuck = takes_nothing(address);
    assert!(is_established(address, stuck.address()));
    until("the server has closed what nobody takes", || !is_established(address, stuck.address()));
}

#[tokio::test]
async fn what_is_meant_to_be_silent_is_not_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let write = |title: &str| {
        fs::create_dir_all(directory.path().join("99-own")).unwrap();
        let text = format!("+++\ntitle = \"{title}\"\n+++\n\n# A step\n\ntext\n");
        fs::write(directory.path().join("99-own/lesson.md"), text).unwrap();
    };
    write("Before");
    let lessons = directory.path().to_str().unwrap();
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--http-timeout", "1s", "--lessons", lessons]);
    let address = playground.address();
    let mut page = playground.open(&playground.new_cookie()).await;
    let mut changes = Raw::open(address).say(format!("GET /api/lessons/changes HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    while !changes.line().starts_with("data: ") {}
    for _ in 0..2 {
        // As long as it takes for somebody else to be cut off.
        Raw::open(address).say("GET / HT").rest();
    }
    assert!(page.output_of(HOST, "echo still").await.contains("still"));
    write("After");
    while !changes.line().starts_with("data: ") {}
}

/// Waits until a server takes no connections any more.
fn until_closed(address: SocketAddr) {
    until("the server takes no connections", || TcpStream::connect(address).is_err());
}

#[test]
fn no_connection_keeps_the_server_from_ending() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut playground = Playground::start(None);
        let address = playground.address();
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n");
        let _held = [
            Raw::open(address),
            Raw::open(address).say("GET"),
            Raw::open(address).say(&request),
            Raw::open(address).say(format!("{request}\r\n")),
            Raw::open(address).say(format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9\r\n\r\n")),
            takes_nothing(address),
        ];
        assert!(playground.stop(signal).success());
    }
}

#[test]
fn without_the_defence_a_request_without_an_end_keeps_it() {
    let mut playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--without", "http-timeouts"]);
    let address = playground.address();
    let half = Raw::open(address).say(format!("GET / HTTP/1.1\r\nHost: {address}\r\n"));
    // So that it was accepted.
    playground.ask(&format!("GET / HTTP/1.1\r\nHost: {address}"));
    kill(playground.pid(), Signal::SIGINT).unwrap();
    until_closed(address);
    let answer = half.say("\r\n").line();
    assert!(answer.starts_with("HTTP/1.1 "), "it was waited for: {answer}");
    assert!(playground.stop(Signal::SIGINT).success());
}

/// Whether a request gets an answer.
fn is_answered(connection: Raw, address: SocketAddr) -> bool {
    connection.say(format!("GET /api/code HTTP/1.1\r\nHost: {address}\r\n\r\n")).line().starts_with("HTTP/1.1 200")
}

#[test]
fn one_address_has_only_so_many_connections() {
    let flags = ["--upstream", NO_UPSTREAM, "--connections-per-address", "3"];
    for (more, most) in
        [(&[][..], Some(3)), (&["--trusted-proxy", "127.0.0.1"], None), (&["--without", "per-address"], None)]
    {
        let playground = Playground::start_with(&[&flags[..], more].concat());
        let address = playground.address();
        let held: Vec<Raw> = (0..3).map(|_| Raw::open(address).say("GET")).collect();
        // It is accepted after them.
        assert!(is_answered(Raw::open_from("127.0.0.2", address), address));
        assert_eq!(is_answered(Raw::open(address), address), most.is_none(), "{more:?}");
        drop(held);
        until("there is room again", || is_answered(Raw::open(address), address));
    }
}

#[tokio::test]
async fn pages_that_labs_have_taken_over_do_not_count() {
    let flags = ["--upstream", NO_UPSTREAM, "--connections-per-address", "2"];
    let playground = Playground::start_with(&flags);
    let cookie = playground.new_cookie();
    let mut pages = Vec::new();
    for _ in 0..4 {
        pages.push(playground.open(&cookie).await);
    }
    assert!(pages[0].output_of(HOST, "echo here").await.contains("here"));
}
