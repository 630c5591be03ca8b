//! How many labs one client gets: not all of them, not one after the other without end, and none that it never uses.

use shared::protocol::{CLOSE_ROOM_FULL, ToLab};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::common::names_in;
use crate::common::playground::{HOST, NO_UPSTREAM, Page, Playground};

/// A new browser's page, whose connection comes from this address of the machine, through proxies that say so.
async fn come(playground: &Playground, from: &str, forwarded: &[&str]) -> Page {
    let address = playground.address();
    let mut request = format!("ws://{address}/api/lab").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("origin", format!("http://{address}").parse().unwrap());
    headers.insert("cookie", playground.new_cookie().parse().unwrap());
    for line in forwarded {
        headers.append("x-forwarded-for", line.parse().unwrap());
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let stream: TcpStream = socket.connect(address).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(request, Box::new(stream) as _).await.unwrap();
    let mut page = Page::new(socket);
    page.tell(&ToLab::Hello { machine: None, terminals: Vec::new() }).await;
    page.until_closed_or(|page| page.machine.is_some()).await;
    page
}

/// What a page that got no lab is told.
fn refusal(page: &Page) -> &str {
    assert_eq!(page.closed, Some(CLOSE_ROOM_FULL), "{}", page.reason);
    &page.reason
}

#[tokio::test]
async fn one_address_does_not_fill_the_room() {
    let flags = ["--upstream", NO_UPSTREAM, "--labs", "4", "--labs-per-address", "2"];
    let playground = Playground::start_with(&flags);
    let _two = [come(&playground, "127.0.0.1", &[]).await, come(&playground, "127.0.0.1", &[]).await];
    let third = come(&playground, "127.0.0.1", &[]).await;
    assert!(refusal(&third).contains("2 machines are running for your network address"), "{}", third.reason);
    // What it says of itself counts for nothing.
    refusal(&come(&playground, "127.0.0.1", &["198.51.100.7"]).await);
    assert_eq!(come(&playground, "127.0.0.2", &[]).await.closed, None, "another has room");
    assert_eq!(names_in(&playground.labs()).len(), 3);
}

#[tokio::test]
async fn behind_a_proxy_its_clients_count_and_not_the_proxy() {
    let flags = ["--upstream", NO_UPSTREAM, "--labs-per-address", "1", "--trusted-proxy", "127.0.0.0/30"];
    let playground = Playground::start_with(&flags);
    let one = come(&playground, "127.0.0.1", &["198.51.100.7"]).await;
    assert_eq!(one.closed, None, "{}", one.reason);
    // A client can write what it likes, before what the proxy has seen.
    refusal(&come(&playground, "127.0.0.1", &["203.0.113.1, 198.51.100.7"]).await);
    refusal(&come(&playground, "127.0.0.1", &["203.0.113.2", "198.51.100.7"]).await);
    refusal(&come(&playground, "127.0.0.2", &["203.0.113.3, 198.51.100.7, 127.0.0.1"]).await);
    let other = come(&playground, "127.0.0.1", &["198.51.100.8"]).await;
    assert_eq!(other.closed, None, "{}", other.reason);
    let direct = come(&playground, "127.0.0.5", &["198.51.100.9"]).await;
    assert_eq!(direct.closed, None, "{}", direct.reason);
    refusal(&come(&playground, "127.0.0.5", &["198.51.100.10"]).await);
}

#[tokio::test]
async fn one_address_has_only_so_many_new_labs_in_a_minute() {
    let flags = ["--upstream", NO_UPSTREAM, "--labs", "1", "--new-labs-per-minute", "1"];
    let playground = Playground::start_with(&flags);
    for _ in 0..2 {
        let cookie = playground.new_cookie();
        drop(playground.open(&cookie).await);
        playground.end_lab(&cookie);
    }
    let third = come(&playground, "127.0.0.1", &[]).await;
    assert!(refusal(&third).contains("too many new machines for your network address"), "{}", third.reason);
    assert_eq!(come(&playground, "127.0.0.2", &[]).await.closed, None, "another has done nothing");
}

#[tokio::test]
async fn without_the_defence_one_address_fills_the_room() {
    let flags = ["--upstream", NO_UPSTREAM, "--labs", "2", "--labs-per-address", "1", "--without", "per-address"];
    let playground = Playground::start_with(&flags);
    let _two = [come(&playground, "127.0.0.1", &[]).await, come(&playground, "127.0.0.1", &[]).await];
    let other = come(&playground, "127.0.0.2", &[]).await;
    assert!(refusal(&other).contains("the room is full"), "{}", other.reason);
}

/// Waits until a playground has these labs, of those that it had.
async fn until_left(playground: &Playground, left: &[String]) {
    let waiting = async {
        while names_in(&playground.labs()) != left {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(crate::common::raw::PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{:?} are left", names_in(&playground.labs()));
}

#[tokio::test]
async fn a_lab_that_nobody_has_used_ends_early_and_others_do_not() {
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--unused", "5s"]);
    let mut used = playground.open(&playground.new_cookie()).await;
    assert!(used.output_of(HOST, "echo used").await.contains("used"));
    drop(used);
    let mut read = playground.open(&playground.new_cookie()).await;
    let kept = names_in(&playground.labs());
    assert_eq!(kept.len(), 2);
    // One says nothing at all, and stays; another has greeted, and gone.
    let silent = playground.dial(&playground.new_cookie(), "/api/lab").await;
    drop(playground.open(&playground.new_cookie()).await);
    until_left(&playground, &kept).await;
    assert!(read.output_of(HOST, "echo read").await.contains("read"));
    drop(silent);
}

#[tokio::test]
async fn without_the_defence_a_lab_that_nobody_has_used_stays() {
    let flags = ["--upstream", NO_UPSTREAM, "--unused", "5s", "--without", "unused-labs"];
    let playground = Playground::start_with(&flags);
    drop(playground.open(&playground.new_cookie()).await);
    // The same server ends others in time, of which this one would have been the first.
    let beside = Playground::start_with(&flags[..4]);
    drop(beside.open(&beside.new_cookie()).await);
    until_left(&beside, &[]).await;
    assert_eq!(names_in(&playground.labs()).len(), 1);
}
