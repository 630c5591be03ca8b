//! The registry mirror over real HTTP, as labs have it, and an upstream that hesitates.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use newroot::http::{self, mirror};
use newroot::registry::{Client, Limits, Store, Upstream};

/// A mirror on a free port, served until the end of the test.
pub struct Mirror {
    address: String,
    store: Arc<Store>,
    runtime: Arc<tokio::runtime::Runtime>,
}

impl Mirror {
    /// Starts one on this state directory.
    pub fn start(state: &Path, upstream: Option<&str>) -> Mirror {
        newroot::runtime::ensure_certificates().unwrap();
        Mirror::serve(Store::open(state, upstream.map(Mirror::upstream)).unwrap())
    }

    /// The same, with a cache of so many bytes.
    pub fn start_limited(state: &Path, upstream: &str, bytes: u64) -> Mirror {
        newroot::runtime::ensure_certificates().unwrap();
        Mirror::start_with(state, upstream, Limits { cache: bytes, ..Limits::default() })
    }

    /// The same, with limits of the test's own.
    pub fn start_with(state: &Path, upstream: &str, limits: Limits) -> Mirror {
        Mirror::serve(Store::limited(state, Some(Mirror::upstream(upstream)), limits).unwrap())
    }

    /// Serves what a store has.
    pub fn serve(store: Store) -> Mirror {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Mirror::listen(store.into(), runtime.into())
    }

    /// The same mirror as another lab has it.
    pub fn of_another_lab(&self) -> Mirror {
        Mirror::listen(self.store.clone(), self.runtime.clone())
    }

    fn listen(store: Arc<Store>, runtime: Arc<tokio::runtime::Runtime>) -> Mirror {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = mirror::router(store.clone(), Client::new());
        runtime.spawn(http::serve_mirror(listener, router));
        Mirror { address, store, runtime }
    }

    /// An upstream at this address.
    pub fn upstream(url: &str) -> Upstream {
        newroot::runtime::ensure_certificates().unwrap();
        Upstream::new(url.parse().unwrap()).unwrap()
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request as it is; returns the head of the answer, in small letters, and its body, which is still to be read.
    pub fn begin(&self, request: &str) -> (String, BufReader<TcpStream>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{request}Host: mirror\r\nConnection: close\r\n\r\n").unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
        }
        (head.to_lowercase(), stream)
    }

    /// The same, with the body.
    pub fn ask(&self, request: &str) -> (String, Vec<u8>) {
        let (head, mut stream) = self.begin(request);
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        (head, body)
    }

    /// Sends a request and returns whatever comes, up to the end of the connection.
    pub fn ask_bare(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{request}Host: mirror\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> (String, Vec<u8>) {
        self.ask(&format!("GET {path} HTTP/1.1\r\n"))
    }

    /// Asserts that a request is refused with this status and code, in the specification's form. Returns the message.
    pub fn refuses(&self, request: &str, status: u16, code: &str) -> String {
        let (head, body) = self.ask(&format!("{request} HTTP/1.1\r\n"));
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{request}: {head}");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json.pointer("/errors/0/code").and_then(|code| code.as_str()), Some(code), "{request}");
        json.pointer("/errors/0/message").unwrap().as_str().unwrap().to_owned()
    }
}

/// A TCP proxy before a registry that holds each connection after so many bytes until it is opened.
pub struct Gate {
    address: String,
    is_open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    /// Starts one. Its threads end with the test's process.
    pub fn start(registry: &str, bytes: u64) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let is_open = Arc::new((Mutex::new(false), Condvar::new()));
        let (registry, gate) = (registry.to_owned(), is_open.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, mut registry) = (client.unwrap(), TcpStream::connect(&registry).unwrap());
                let (mut from, mut to) = (client.try_clone().unwrap(), registry.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let gate = gate.clone();
                thread::spawn(move || {
                    let _ = std::io::copy(&mut (&mut registry).take(bytes), &mut client);
                    drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open));
                    let _ = std::io::copy(&mut registry, &mut client);
                });
            }
        });
        Gate { address, is_open }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        *self.is_open.0.lock().unwrap() = true;
        self.is_open.1.notify_all();
    }
}

/// A registry that gives the same answer to whatever is asked.
pub struct Parrot {
    address: String,
}

impl Parrot {
    /// Starts one. Its threads end with the test's process.
    pub fn start(answer: impl Into<Vec<u8>>) -> Parrot {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = Arc::new(answer.into());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, answer) = (client.unwrap(), answer.clone());
                thread::spawn(move || {
                    let mut request = BufReader::new(client.try_clone().unwrap()).lines();
                    while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                    let _ = client.write_all(&answer);
                });
            }
        });
        Parrot { address }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Bytes that do not compress, other ones each time.
pub fn noise(length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::fs::File::open("/dev/urandom").unwrap().take(length).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A proxy before a registry that never answers a request for a path with `/slow/` in it.
pub struct Sluggish {
    address: String,
    held: Arc<(Mutex<Held>, Condvar)>,
}

/// The requests that are not answered.
#[derive(Clone, Copy, Default)]
pub struct Held {
    /// Those whose client waits.
    pub now: usize,
    /// The most that there were at once.
    pub most: usize,
    /// All that there ever were.
    pub ever: usize,
}

impl Sluggish {
    /// Starts one. Its threads end with the test's process.
    pub fn start(registry: &str) -> Sluggish {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let held = Arc::new((Mutex::new(Held::default()), Condvar::new()));
        let (registry, counted) = (registry.to_owned(), held.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, registry, counted) = (client.unwrap(), registry.clone(), counted.clone());
                thread::spawn(move || Sluggish::pass(client, &registry, &counted));
            }
        });
        Sluggish { address, held }
    }

    fn pass(mut client: TcpStream, registry: &str, counted: &(Mutex<Held>, Condvar)) {
        let mut reader = BufReader::new(client.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        if head.lines().next().unwrap().contains("/slow/") {
            let count = |change: &dyn Fn(&mut Held)| {
                change(&mut counted.0.lock().unwrap());
                counted.1.notify_all();
            };
            count(&|held| {
                (held.now, held.ever) = (held.now + 1, held.ever + 1);
                held.most = held.most.max(held.now);
            });
            // Until the client hangs up.
            let _ = reader.read(&mut [0]);
            count(&|held| held.now -= 1);
            return;
        }
        // One request a connection, so that each is looked at.
        let mut server = TcpStream::connect(registry).unwrap();
        let _ = server.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes());
        let _ = std::io::copy(&mut server, &mut client);
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until this is so of the requests that are not answered. Returns them.
    pub fn until(&self, is_so: impl Fn(&Held) -> bool) -> Held {
        *self.held.1.wait_while(self.held.0.lock().unwrap(), |held| !is_so(held)).unwrap()
    }
}
