//! Attacks by pages, by other sites' pages, and by whoever reaches the server's port.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use crate::common;
use crate::common::playground::{NO_UPSTREAM, Playground};
use crate::raw::{self, BINARY, LAST, PING, Socket, TEXT, frame};
use crate::rows::{self, By, PAGES};
use crate::table::{Outcome, Table};

use Outcome::{Escaped, Held};

/// A server, a learner who is attacked, and their cookie.
struct Scene {
    playground: Playground,
    cookie: String,
}

impl Scene {
    fn new(flags: &[&str]) -> Scene {
        let playground = Playground::start_with(&[&["--upstream", NO_UPSTREAM], flags].concat());
        let cookie = playground.new_cookie();
        Scene { playground, cookie }
    }

    fn address(&self) -> SocketAddr {
        self.playground.address()
    }

    /// The headers of an honest request.
    fn honest(&self) -> [String; 3] {
        let address = self.address();
        [format!("Host: {address}"), format!("Origin: http://{address}"), format!("Cookie: {}", self.cookie)]
    }

    /// Asks for a WebSocket with these headers.
    fn opens(&self, headers: &[&str]) -> Outcome {
        let cookie = format!("Cookie: {}", self.cookie);
        self.opens_bare(&[headers, &[&cookie]].concat())
    }

    fn opens_bare(&self, headers: &[&str]) -> Outcome {
        match raw::status_of(self.address(), &raw::upgrade(headers)) {
            101 => Escaped("a connection to the lab".to_owned()),
            other => Held(format!("status {other}")),
        }
    }

    /// Ends a lab, with these headers.
    fn ends(&self, headers: &[&str]) -> Outcome {
        let cookie = format!("Cookie: {}", self.cookie);
        let mut head = "DELETE /api/lab HTTP/1.1\r\nContent-Length: 0\r\n".to_owned();
        for header in headers.iter().chain(&[cookie.as_str()]) {
            head += &format!("{header}\r\n");
        }
        match raw::status_of(self.address(), (head + "\r\n").as_bytes()) {
            204 => Escaped("the lab is ended".to_owned()),
            other => Held(format!("status {other}")),
        }
    }

    fn gets(&self, path: &str, more: &str) -> String {
        let address = self.address();
        raw::ask(
            address,
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{more}Connection: close\r\n\r\n").as_bytes(),
        )
    }

    /// A page's connection, to a lab that has greeted.
    fn page(&self) -> Socket {
        let mut socket = Socket::open(self.address(), &self.cookie);
        socket.say(r#"{"type":"hello","machine":null,"terminals":[]}"#);
        assert!(socket.hears(r#""type":"hello""#));
        socket
    }

    /// How the lab greets another page: with its terminals.
    fn greeting(&self) -> String {
        let mut page = Socket::open(self.address(), &self.cookie);
        page.say(r#"{"type":"hello","machine":null,"terminals":[]}"#);
        loop {
            let (_, said) = page.next().unwrap();
            let said = String::from_utf8_lossy(&said).into_owned();
            if said.contains(r#""type":"hello""#) {
                return said;
            }
        }
    }

    /// KiB of memory that the lab process has.
    fn memory_of_the_lab(&self) -> i64 {
        let lab = common::names_in(&self.playground.labs()).remove(0);
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let is_lab = |process: &std::path::PathBuf| {
            fs::read(process.join("cmdline")).is_ok_and(|line| line.starts_with(b"newroot\0lab\0"))
                && common::cgroups_of(process).contains(&lab)
        };
        // The zygote is a fork of it, and has less.
        let memory = |process: std::path::PathBuf| -> i64 {
            let status = fs::read_to_string(process.join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        processes.filter(is_lab).map(memory).max().unwrap()
    }
}

/// A page that goes on has not been turned away.
fn goes_on(socket: &mut Socket, what: &str) -> Outcome {
    match socket.goes_on() {
        Ok(()) => Escaped(what.to_owned()),
        Err(why) => Held(why),
    }
}

/// What a lab process may grow by, however a page behaves: rings, windows, and what its allocator keeps.
const MOST_GROWTH: i64 = 24 << 10;

/// The page lives, and its lab has not grown.
fn lives(scene: &Scene, socket: &mut Socket, before: i64) -> Outcome {
    if let Err(why) = socket.goes_on() {
        return Escaped(format!("the lab does not answer any more: {why}"));
    }
    match scene.memory_of_the_lab() - before {
        grown @ ..=MOST_GROWTH => Held(format!("it answers, and has grown by {} KiB", grown.max(0))),
        grown => Escaped(format!("the lab process has grown by {grown} KiB")),
    }
}

fn attack(name: &str, scene: &Scene) -> Outcome {
    let address = scene.address();
    let [host, origin, _] = scene.honest();
    let (evil_host, evil_origin) = (format!("Host: evil.example:{}", address.port()), "Origin: http://evil.example");
    let rebound = format!("{evil_origin}:{}", address.port());
    match name {
        "other-site-opens-a-lab" => scene.opens(&[&host, evil_origin]),
        "other-site-ends-a-lab" => scene.ends(&[&host, evil_origin]),
        "no-site-opens-a-lab" => scene.opens(&[&host]),
        "null-site-opens-a-lab" => scene.opens(&[&host, "Origin: null"]),
        "rebound-name-opens-a-lab" => scene.opens(&[&evil_host, &rebound]),
        "rebound-name-ends-a-lab" => scene.ends(&[&evil_host, &rebound]),
        "two-hosts" => scene.opens(&[&host, &evil_host, &origin]),
        "two-origins" => scene.opens(&[&host, &origin, evil_origin]),
        "no-cookie" => scene.opens_bare(&[&host, &origin]),
        "odd-cookie" => {
            let odd = [
                "newroot=",
                "newroot=../../etc",
                "newroot=0123",
                "newroot=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
                "other=1",
            ];
            let outcomes = odd.map(|cookie| scene.opens_bare(&[&host, &origin, &format!("Cookie: {cookie}")]));
            outcomes
                .into_iter()
                .find(Outcome::has_escaped)
                .unwrap_or(Held(format!("status 401 for {} of them", odd.len())))
        }
        "made-up-cookie" => scene.opens_bare(&[&host, &origin, &format!("Cookie: newroot={}", "5".repeat(32))]),
        "ends-another-lab" => {
            let mut victim = scene.page();
            let other = scene.playground.new_cookie();
            let ended = scene.playground.ask(&format!(
                "DELETE /api/lab HTTP/1.1\r\n{host}\r\n{origin}\r\nCookie: {other}\r\nContent-Length: 0"
            ));
            assert_eq!(raw::status(&ended), 204, "{ended}");
            victim.goes_on().map_or_else(Escaped, |()| Held("the other lab goes on".to_owned()))
        }
        "assets-climb" => climbs(scene, "/assets/../../../../../../etc/passwd"),
        "assets-climb-escaped" => climbs(scene, "/assets/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
        "request-in-a-request" => {
            let inner = format!("DELETE /api/lab HTTP/1.1\r\n{host}\r\n\r\n");
            let body = format!("0\r\n\r\n{inner}");
            let outer = format!(
                "GET / HTTP/1.1\r\n{host}\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            match raw::ask(address, outer.as_bytes()).matches("HTTP/1.1 ").count() {
                most @ ..=1 => Held(format!("{most} answer")),
                more => Escaped(format!("{more} answers to one request")),
            }
        }
        "giant-head" => match raw::status(&scene.gets("/", &format!("X-Long: {}\r\n", "x".repeat(2 << 20)))) {
            200 => Escaped("two mebibytes of a header are read".to_owned()),
            other => Held(format!("status {other}")),
        },
        "trace-method" => {
            let answer = raw::ask(
                address,
                format!(
                    "TRACE /api/lab HTTP/1.1\r\n{host}\r\n{origin}\r\nCookie: {}\r\nConnection: close\r\n\r\n",
                    scene.cookie
                )
                .as_bytes(),
            );
            match answer.contains(&scene.cookie) {
                true => Escaped("the cookie comes back in the answer".to_owned()),
                false => Held(format!("status {}", raw::status(&answer))),
            }
        }
        "page-in-a-frame" => match scene.gets("/", "").to_lowercase().contains("frame-ancestors 'none'") {
            true => Held("no site may".to_owned()),
            false => Escaped("any site may".to_owned()),
        },
        _ => on_a_page(name, scene),
    }
}

fn climbs(scene: &Scene, path: &str) -> Outcome {
    let answer = scene.gets(path, "");
    match answer.contains("root:") {
        true => Escaped("/etc/passwd is told".to_owned()),
        false => Held(format!("status {}", raw::status(&answer))),
    }
}

fn on_a_page(name: &str, scene: &Scene) -> Outcome {
    // None of the attacks before has left anything there.
    scene.playground.end_lab(&scene.cookie);
    let mut page = scene.page();
    let before = scene.memory_of_the_lab();
    let giant = vec![b' '; 4 << 20];
    match name {
        "giant-text" => {
            page.frame(LAST | TEXT, &giant);
            goes_on(&mut page, "four mebibytes at once")
        }
        "giant-binary" => {
            page.frame(LAST | BINARY, &giant);
            goes_on(&mut page, "four mebibytes at once")
        }
        "giant-announced" => {
            // The rest comes, too, where it is waited for.
            page.send(&frame(LAST | BINARY, 16 << 20, &giant, true));
            for _ in 0..3 {
                page.send(&giant);
            }
            goes_on(&mut page, "sixteen mebibytes at once")
        }
        "fragments-without-end" => {
            page.frame(TEXT, b" ");
            for _ in 0..64 {
                page.frame(0, &giant[..64 << 10]);
            }
            page.frame(LAST, b" ");
            goes_on(&mut page, "four mebibytes in pieces")
        }
        "wrong-text" => {
            page.frame(LAST | TEXT, b"\xff\xfe\x80");
            goes_on(&mut page, "text that is none")
        }
        "unmasked" => {
            page.send(&frame(LAST | TEXT, 2, b"{}", false));
            goes_on(&mut page, "a frame without a mask")
        }
        "reserved-kind" => {
            page.frame(LAST | 0x0b, b"x");
            goes_on(&mut page, "a frame of a kind that is none")
        }
        "giant-ping" => {
            page.frame(LAST | PING, &giant[..70_000]);
            goes_on(&mut page, "a control frame of 70,000 bytes")
        }
        "unknown-messages" => {
            for number in 0..1000 {
                page.say(&format!(r#"{{"type":"attack","number":{number}}}"#));
                page.say(r#"{"type":"resize","terminal":0,"size":{"columns":-1,"rows":1e99}}"#);
                page.frame(LAST | BINARY, b"\x02\xff\xff\xff\xff\0\0\0\0\0\0\0\0rm -rf /");
            }
            lives(scene, &mut page, before)
        }
        "offset-from-the-future" => {
            for offset in ["18446744073709551615", "9223372036854775808", "1152921504606846976"] {
                page.say(&format!(r#"{{"type":"acknowledge","terminal":0,"offset":{offset}}}"#));
                page.say(&format!(r#"{{"type":"acknowledge","terminal":4294967295,"offset":{offset}}}"#));
            }
            let mut second = Socket::open(scene.address(), &scene.cookie);
            second.say(r#"{"type":"hello","machine":"0000000000000000","terminals":[[0,18446744073709551615]]}"#);
            assert!(second.hears(r#""type":"hello""#));
            lives(scene, &mut second, before)
        }
        "input-before-the-greeting" => {
            let mut silent = Socket::open(scene.address(), &scene.cookie);
            silent.frame(LAST | BINARY, b"\x02\0\0\0\0\0\0\0\0\0\0\0\0echo =ty\"\"ped=\n");
            silent.goes_on().unwrap();
            page.say(r#"{"type":"open","name":"after"}"#);
            // Were it typed, its output would come before this.
            let mut seen = String::new();
            while let Some((_, payload)) = page.next() {
                seen += &String::from_utf8_lossy(&payload);
                if seen.contains("=typed=") || seen.contains("after") {
                    break;
                }
            }
            match seen.contains("=typed=") {
                true => Escaped("typed by a page that owns nothing".to_owned()),
                false => lives(scene, &mut page, before),
            }
        }
        "resizes" => {
            for number in 0..10_000u32 {
                let (columns, rows) = match number % 3 {
                    0 => (0, 0),
                    1 => (65_535, 65_535),
                    _ => (80 + number % 7, 24),
                };
                page.say(&format!(r#"{{"type":"resize","terminal":0,"size":{{"columns":{columns},"rows":{rows}}}}}"#));
            }
            lives(scene, &mut page, before)
        }
        "terminals-without-end" => {
            for _ in 0..500 {
                page.say(r#"{"type":"open","name":null}"#);
            }
            page.goes_on().unwrap();
            match scene.greeting().matches(r#""running""#).count() {
                few @ ..=8 => Held(format!("{few} terminals")),
                many => Escaped(format!("{many} terminals")),
            }
        }
        "giant-names" => {
            page.say(&format!(r#"{{"type":"open","name":"\u202e{}"}}"#, "n".repeat(100_000)));
            page.goes_on().unwrap();
            match scene.greeting() {
                long if long.contains(&"n".repeat(25)) => Escaped("a name of more than 24 characters".to_owned()),
                turned if turned.contains('\u{202e}') => Escaped("a name that turns what follows around".to_owned()),
                _ => lives(scene, &mut page, before),
            }
        }
        "typing-without-end" => {
            page.say(r#"{"type":"acknowledge","terminal":0,"offset":0}"#);
            let mut input = b"\x02\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
            input.extend(b"sleep 1000\n");
            page.frame(LAST | BINARY, &input);
            input.extend(vec![b'y'; 60 << 10]);
            for _ in 0..600 {
                page.frame(LAST | BINARY, &input);
            }
            lives(scene, &mut page, before)
        }
        "page-that-does-not-read" => {
            let mut reader = scene.page();
            let mut input = b"\x02\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
            input.extend(b"yes a-flood-of-output & sleep 1; kill $!; echo =do''ne=\n");
            reader.frame(LAST | BINARY, &input);
            // One page reads on, and owns the terminals; the other does not.
            let mut seen: Vec<u8> = Vec::new();
            let mut acknowledged = 0u64;
            while let Some((kind, payload)) = reader.next() {
                if kind == BINARY && payload.len() > 13 {
                    seen.extend(&payload[13..]);
                    seen.drain(..seen.len().saturating_sub(1000));
                    acknowledged = u64::from_be_bytes(payload[5..13].try_into().unwrap()) + payload.len() as u64 - 13;
                    reader.say(&format!(r#"{{"type":"acknowledge","terminal":0,"offset":{acknowledged}}}"#));
                }
                if seen.windows(6).any(|window| window == b"=done=") {
                    break;
                }
            }
            match lives(scene, &mut reader, before) {
                Held(why) => Held(format!("{why}, of {acknowledged} bytes")),
                escaped => escaped,
            }
        }
        other => panic!("there is no attack {other}"),
    }
}

/// What an honest page does instead, and may.
fn twin(name: &str, scene: &Scene) -> Outcome {
    let [host, origin, _] = scene.honest();
    let row = PAGES.iter().find(|row| row.name == name).unwrap();
    match name {
        "assets-climb" | "assets-climb-escaped" | "request-in-a-request" | "giant-head" | "page-in-a-frame" => {
            match raw::status(&scene.gets("/", "")) {
                200 => Escaped("gets the page".to_owned()),
                other => Held(format!("status {other}")),
            }
        }
        "trace-method" => scene.ends(&[&host, &origin]),
        _ if matches!(row.by, By::Defence("frames")) || row.name == "wrong-text" || row.by == crate::rows::WINDOWS => {
            goes_on(&mut scene.page(), "is answered")
        }
        _ => scene.opens(&[&host, &origin]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_page_gets_what_is_not_its_own() {
    let mut table = Table::default();
    let scene = Scene::new(&[]);
    let mut open: BTreeMap<&str, Scene> = BTreeMap::new();
    for row in rows::chosen(PAGES) {
        let twin = twin(row.name, &scene);
        let with = attack(row.name, &scene);
        let without = match row.by {
            By::Defence(defence) if !row.is_pending => {
                let open = open.entry(defence).or_insert_with(|| Scene::new(&["--without", defence]));
                Some(attack(row.name, open))
            }
            _ => None,
        };
        table.judge(row, &with, without.as_ref(), &twin);
    }
    table.finish("by pages");
}
