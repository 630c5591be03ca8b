//! Attacks on the registry mirror, from the network namespace of a lab.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::common::playground::{NO_UPSTREAM, Playground};
use crate::control::ATTACKER;
use crate::raw;
use crate::rows::{self, By, MIRROR};
use crate::table::{Outcome, Table};
use crate::written_down::child;

use Outcome::{Escaped, Held};

/// Sends bytes to the mirror of the playground's only lab; returns the answer.
fn ask(playground: &Playground, request: &[u8]) -> Vec<u8> {
    let lab = child(playground.helper().as_raw(), "newroot lab");
    let init = child(child(lab, "newroot lab"), "newroot init");
    let mut asking = Command::new("nsenter")
        .args(["--target", &init.to_string(), "--net", "--", ATTACKER, "ask"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    asking.stdin.take().unwrap().write_all(request).unwrap();
    asking.wait_with_output().unwrap().stdout
}

fn attack(name: &str, playground: &Playground) -> Outcome {
    // A service of the machine that the mirror must not ask.
    let bait = TcpListener::bind("127.0.0.1:0").unwrap();
    bait.set_nonblocking(true).unwrap();
    let there = bait.local_addr().unwrap();
    let line = match name {
        "mirror-climbs" => "GET /v2/../../../../../../etc/passwd".to_owned(),
        "mirror-climbs-escaped" => "GET /v2/library/busybox/blobs/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd".to_owned(),
        "mirror-digest-climbs" => "GET /v2/library/busybox/blobs/sha256:../../../../../../etc/passwd".to_owned(),
        "mirror-asks-elsewhere" => format!("GET /v2/{there}/x/manifests/latest"),
        "mirror-is-a-proxy" => format!("GET http://{there}/v2/"),
        "mirror-connects" => format!("CONNECT {there}"),
        "mirror-is-written-to" => "PUT /v2/library/busybox/manifests/latest".to_owned(),
        _ => "GET /v2/library/busybox/manifests/latest".to_owned(),
    };
    let more = match name {
        "mirror-giant-head" => format!("X-Long: {}\r\n", "x".repeat(2 << 20)),
        "mirror-ranges" => format!("Range: bytes={}0-0\r\n", "0-,".repeat(1000)),
        "mirror-is-written-to" => "Content-Length: 0\r\n".to_owned(),
        _ => String::new(),
    };
    let request = match name {
        // The preface of HTTP/2, and an empty frame of settings.
        "mirror-http-2" => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        _ => format!("{line} HTTP/1.1\r\nHost: mirror\r\n{more}Connection: close\r\n\r\n").into_bytes(),
    };
    let answer = ask(playground, &request);
    let text = String::from_utf8_lossy(&answer);
    let status = raw::status(&text);
    if bait.accept().is_ok() {
        return Escaped("another service of the machine is asked".to_owned());
    }
    match name {
        _ if text.contains("root:") => Escaped("/etc/passwd is told".to_owned()),
        // A frame's kind is its fourth byte.
        "mirror-http-2" => match answer.get(3) {
            Some(4) => Escaped("it answers with settings of HTTP/2".to_owned()),
            _ => Held(format!("status {status}")),
        },
        // Whatever it answers itself: it has asked nobody.
        "mirror-is-a-proxy" => Held(format!("status {status}")),
        "mirror-ranges" if answer.len() > 100_000 => Escaped(format!("{} bytes for one small manifest", answer.len())),
        "mirror-ranges" => Held(format!("status {status}, {} bytes", answer.len())),
        _ if (200..400).contains(&status) => Escaped(format!("status {status}")),
        _ => Held(format!("status {status}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "its honest twins get no connection now and then: cargo test --test attacks -- --ignored"]
async fn the_mirror_gives_what_it_should_and_nothing_else() {
    let start = |flags: &[&str]| Playground::start_with(&[&["--upstream", NO_UPSTREAM], flags].concat());
    let playground = start(&[]);
    let _page = playground.open(&playground.new_cookie()).await;
    let mut table = Table::default();
    let twin = match raw::status(&String::from_utf8_lossy(&ask(
        &playground,
        b"GET /v2/ HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n",
    ))) {
        200 => Escaped("is answered".to_owned()),
        other => Held(format!("status {other}")),
    };
    for row in rows::chosen(MIRROR) {
        let with = attack(row.name, &playground);
        let without = match row.by {
            By::Defence(defence) => {
                let open = start(&["--without", defence]);
                let _page = open.open(&open.new_cookie()).await;
                Some(attack(row.name, &open))
            }
            _ => None,
        };
        table.judge(row, &with, without.as_ref(), &twin);
    }
    table.finish("at the mirror");
}
