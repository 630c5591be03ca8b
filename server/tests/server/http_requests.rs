//! Requests that two programs could understand in two ways, and cookies that are not the server's.

use crate::common::names_in;
use crate::common::playground::{NO_UPSTREAM, Playground};
use crate::common::raw::Raw;

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The status of the answer to a request, which is sent as it is.
fn status(playground: &Playground, request: &str) -> String {
    let answer = Raw::open(playground.address()).say(format!("{request}\r\n")).line();
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    status.unwrap_or_else(|| panic!("{request}: {answer}")).to_owned()
}

/// The labs that have been started.
fn labs(playground: &Playground) -> Vec<String> {
    if playground.labs().exists() { names_in(&playground.labs()) } else { Vec::new() }
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let playground = Playground::start(None);
    let (address, cookie) = (playground.address(), playground.new_cookie());
    let port = address.port();
    let (host, origin) = (format!("Host: {address}\r\n"), format!("Origin: http://{address}\r\n"));
    let cookie = format!("Cookie: {cookie}\r\n");
    let (evil_host, evil_origin) = ("Host: evil.example\r\n", "Origin: http://evil.example\r\n");
    let page = |headers: String| format!("GET / HTTP/1.1\r\n{headers}");
    let lab = |headers: String| format!("GET /api/lab HTTP/1.1\r\n{headers}{cookie}{UPGRADE}{KEY}");
    for (what, request, expected) in [
        ("two Hosts", page(format!("{host}{evil_host}")), "400"),
        ("two Hosts, ours last", page(format!("{evil_host}{host}")), "400"),
        ("twice the same Host", page(format!("{host}{host}")), "400"),
        ("no Host", page(String::new()), "400"),
        ("no Host, by HTTP/1.0", "GET / HTTP/1.0\r\n".to_owned(), "400"),
        ("an empty Host", page("Host: \r\n".to_owned()), "400"),
        ("a user in the Host", page(format!("Host: evil@{address}\r\n")), "400"),
        ("a port that is none", page("Host: 127.0.0.1:+80\r\n".to_owned()), "400"),
        ("two names in one Host", page(format!("Host: {address}, evil.example\r\n")), "400"),
        ("a Host that is no text", page("Host: 127.0.0.1\u{e9}\r\n".to_owned()), "400"),
        ("an absolute target elsewhere", format!("GET http://evil.example/ HTTP/1.1\r\n{host}"), "400"),
        ("an absolute target on another port", format!("GET http://127.0.0.1:1/ HTTP/1.1\r\n{host}"), "400"),
        ("a user in an absolute target", format!("GET http://a@{address}/ HTTP/1.1\r\n{host}"), "400"),
        ("a proxy's request", format!("CONNECT {address} HTTP/1.1\r\n{host}"), "400"),
        ("two Origins", lab(format!("{host}{origin}{evil_origin}")), "400"),
        ("two Origins, ours last", lab(format!("{host}{evil_origin}{origin}")), "400"),
        ("two cookies of our name", lab(format!("{host}{origin}Cookie: newroot=x\r\n")), "400"),
        ("two in one line", page(format!("{host}Cookie: newroot=x; newroot=y\r\n")), "400"),
        ("two keys", lab(format!("{host}{origin}{KEY}")), "400"),
        ("two versions", lab(format!("{host}{origin}Sec-WebSocket-Version: 12\r\n")), "400"),
        ("two upgrades", lab(format!("{host}{origin}Upgrade: h2c\r\n")), "400"),
        ("a body", page(format!("{host}Content-Length: 5\r\n")), "413"),
        ("a body in pieces", page(format!("{host}Transfer-Encoding: chunked\r\n")), "413"),
        ("an Origin that is null", page(format!("{host}Origin: null\r\n")), "403"),
        ("an Origin that is nothing", lab(format!("{host}Origin: \r\n")), "403"),
        ("an Origin of another port", lab(format!("{host}Origin: http://127.0.0.1:1\r\n")), "403"),
        ("an Origin of another scheme", lab(format!("{host}Origin: ftp://{address}\r\n")), "403"),
        ("an Origin with a user", lab(format!("{host}Origin: http://evil@{address}\r\n")), "403"),
        ("two Origins in one", lab(format!("{host}Origin: http://{address} http://evil.example\r\n")), "403"),
        ("another name", page(format!("Host: evil.example:{port}\r\n")), "421"),
        ("code for another site", format!("GET /api/code HTTP/1.1\r\n{host}{evil_origin}"), "403"),
        ("lessons for another site", format!("GET /api/lessons HTTP/1.1\r\n{host}{evil_origin}"), "403"),
    ] {
        let answered = status(&playground, &request);
        assert_eq!(answered, expected, "{what}: {request}");
    }
    assert_eq!(labs(&playground), [""; 0], "none of them got a lab");
}

#[test]
fn a_request_that_means_us_is_answered_however_it_is_written() {
    let playground = Playground::start(None);
    let (address, port) = (playground.address(), playground.address().port());
    for request in [
        format!("GET /api/code HTTP/1.1\r\nHost: {address}\r\n"),
        format!("GET /api/code HTTP/1.1\r\nHost: LocalHost:{port}\r\n"),
        format!("GET /api/code HTTP/1.1\r\nHost: localhost.:{port}\r\n"),
        format!("GET /api/code HTTP/1.1\r\nHost: [::1]:{port}\r\nOrigin: http://[0:0::1]:{port}\r\n"),
        format!("GET http://{address}/api/code HTTP/1.1\r\nHost: {address}\r\n"),
        format!("GET /api/code HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nContent-Length: 0\r\n"),
        format!("GET /api/code HTTP/1.1\r\nHost: {address}\r\nCookie: a=b\r\nCookie: newroots=1; c=d\r\n"),
        // As a proxy sends it that speaks https for us, and keeps the name.
        "GET /api/code HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\n".to_owned(),
    ] {
        assert_eq!(status(&playground, &request), "200", "{request}");
    }
}

#[test]
fn without_the_defence_the_first_of_two_headers_counts() {
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--without", "headers-once"]);
    let address = playground.address();
    let two = |name: &str, ours: &str, theirs: &str| format!("{name}: {ours}\r\n{name}: {theirs}\r\n");
    let hosts = two("Host", &address.to_string(), "evil.example");
    assert_eq!(status(&playground, &format!("GET /api/code HTTP/1.1\r\n{hosts}")), "200");
    let origins = two("Origin", &format!("http://{address}"), "http://evil.example");
    assert_eq!(status(&playground, &format!("GET /api/code HTTP/1.1\r\nHost: {address}\r\n{origins}")), "200");
}

/// The answer to a page that comes with this cookie.
fn asked_with(playground: &Playground, cookie: &str) -> String {
    let address = playground.address();
    let head =
        format!("GET /api/lab HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: newroot={cookie}\r\n");
    status(playground, &format!("{head}{UPGRADE}{KEY}"))
}

#[test]
fn no_cookie_but_the_servers_own_is_a_learner() {
    let mut playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let cookie = cookie.strip_prefix("newroot=").unwrap();
    let (secret, tag) = cookie.split_once('.').expect("a secret and its tag");
    let other = playground.new_cookie();
    let (_, other_tag) = other.split_once('.').unwrap();
    for forged in [
        "0123456789abcdef0123456789abcdef".to_owned(),
        secret.to_owned(),
        format!("{secret}.{other_tag}"),
        format!("{secret}.{}", "0".repeat(64)),
        format!("0123456789abcdef0123456789abcdef.{tag}"),
        format!("{secret}.{}", &tag[..62]),
    ] {
        assert_eq!(asked_with(&playground, &forged), "401", "{forged}");
        // The page gives its browser one that counts.
        let page = format!("GET / HTTP/1.1\r\nHost: {}\r\nCookie: newroot={forged}", playground.address());
        assert!(playground.ask(&page).contains("set-cookie: newroot="), "{forged}");
    }
    assert_eq!(labs(&playground), [""; 0]);
    // The next server knows it still, by the key that is for root alone.
    playground.restart_after(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(asked_with(&playground, cookie), "101");
    let key = std::fs::metadata(playground.state().join("cookie-key")).unwrap();
    assert_eq!((key.len(), std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777), (32, 0o600));
}

#[test]
fn without_the_defence_any_digits_are_a_learner() {
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--without", "signed-cookies"]);
    assert_eq!(asked_with(&playground, "0123456789abcdef0123456789abcdef"), "101");
    assert_eq!(labs(&playground).len(), 1);
}

#[test]
fn whoever_finds_a_fault_learns_whom_to_tell_where_somebody_was_named() {
    let request = |playground: &Playground| {
        playground.ask(&format!("GET /.well-known/security.txt HTTP/1.1\r\nHost: {}", playground.address()))
    };
    let nobody = Playground::start(None);
    assert!(request(&nobody).starts_with("HTTP/1.1 404"), "{}", request(&nobody));
    let contact = ["--upstream", NO_UPSTREAM, "--security-contact", "mailto:security@example.org"];
    let answer = request(&Playground::start_with(&contact));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("content-type: text/plain"), "{answer}");
    assert!(answer.contains("\r\n\r\nContact: mailto:security@example.org\nExpires: 20"), "{answer}");
}
