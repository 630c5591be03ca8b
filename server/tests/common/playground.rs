//! A real `newroot serve` on a free port, and the pages that are opened on it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use newroot::classroom::{Classroom, Learners, ProgressStore};
use newroot::defence::Defences;
use newroot::lab::Keeper;
use newroot::registry::Store;
use newroot::{http, lessons};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::protocol::{MachineId, Offset, TerminalId, ToLab};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::raw::PATIENCE;

pub use super::page::{CONTAINER, Carrier, HOST, Page};

/// A registry's address where nobody listens: tests must not ask Docker Hub.
pub const NO_UPSTREAM: &str = "http://127.0.0.1:9";

/// A server that ends, with its labs, when this is dropped.
pub struct Playground {
    process: Child,
    address: SocketAddr,
    directory: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    bridge: Option<PathBuf>,
}

impl Playground {
    /// Starts a server whose mirror asks this registry, or none that can be reached.
    pub fn start(upstream: Option<&str>) -> Playground {
        Playground::start_with(&["--upstream", upstream.unwrap_or(NO_UPSTREAM)])
    }

    /// Starts a server with these flags. Its mirror asks Docker Hub unless they say otherwise.
    pub fn start_with(arguments: &[&str]) -> Playground {
        Playground::start_in(arguments, &[])
    }

    /// The same, with these variables in its environment.
    pub fn start_in(arguments: &[&str], environment: &[(&str, &Path)]) -> Playground {
        let directory = closed_directory();
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), value.to_path_buf())).collect();
        let (process, address) = spawn(super::newroot(), directory.path(), &arguments, &environment);
        Playground { process, address, directory, arguments, environment, bridge: None }
    }

    /// Starts a server as a script would that has set signals to be ignored: `INT QUIT`.
    pub fn start_ignoring(signals: &str) -> Playground {
        let directory = closed_directory();
        let mut script = Command::new("/bin/sh");
        script.arg("-c").arg(format!("trap '' {signals}; exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_newroot"));
        let arguments = ["--upstream", NO_UPSTREAM].map(str::to_owned).to_vec();
        let (process, address) = spawn(script, directory.path(), &arguments, &[]);
        Playground { process, address, directory, arguments, environment: Vec::new(), bridge: None }
    }

    /// Starts a server from a terminal of its own, which the result is the other side of: by a shell that leads its session
    /// there, and does this first.
    pub fn start_on_terminal(first: &str, arguments: &[&str]) -> (Playground, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let terminal = nix::pty::openpty(None, None).unwrap();
        // Servers that other tests start meanwhile must not inherit it.
        for side in [&terminal.master, &terminal.slave] {
            nix::fcntl::fcntl(side, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).unwrap();
        }
        let mut script = Command::new("setsid");
        script.args(["--ctty", "/bin/sh", "-c"]).arg(format!("{first}; exec \"$0\" \"$@\""));
        script.arg(env!("CARGO_BIN_EXE_newroot")).stdin(terminal.slave);
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (process, address) = spawn(script, directory.path(), &arguments, &[]);
        let playground = Playground { process, address, directory, arguments, environment: Vec::new(), bridge: None };
        (playground, terminal.master)
    }

    /// Lets pages come through a second server from here on, which finds the labs of the first. It runs in this process
    /// and listens on a Unix socket, so its pages' connections are none that can be handed to a lab: they are bridged.
    pub async fn bridge(&mut self) {
        let keeper = self.keeper();
        let progress = ProgressStore::open(self.directory.path().join("second-progress")).unwrap();
        let (classroom, _arrivals) = Classroom::new(keeper, 0, progress, None);
        assert!(classroom.find_labs().await > 0, "the second server starts no lab of its own");
        let state = self.directory.path().join("second");
        let store = std::sync::Arc::new(Store::open(&state, None).unwrap());
        let lessons = lessons::fixed(lessons::Choice::embedded().unwrap());
        let site = http::Site {
            classroom,
            // A page's cookie is the first server's.
            learners: Learners::open(&self.state(), Defences::default()).unwrap(),
            store,
            lessons,
            code: lessons::code(),
            hosts: Vec::new(),
            proxies: http::Proxies::default(),
            contact: None,
            defences: Defences::default(),
        };
        let path = self.directory.path().join("bridge");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(http::serve(listener, site.into(), http::Limits::default(), std::future::pending()));
        self.bridge = Some(path);
    }

    /// The flags of the next server.
    pub fn arguments(&mut self) -> &mut Vec<String> {
        &mut self.arguments
    }

    /// Ends the server by a signal and starts another one on the same directories.
    pub fn restart_after(&mut self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
        self.process.wait().unwrap();
        (self.process, self.address) =
            spawn(super::newroot(), self.directory.path(), &self.arguments, &self.environment);
    }

    /// Waits until the server has ended by itself, and starts another one on the same directories. Returns how it ended.
    pub fn restart_after_end(&mut self) -> std::process::ExitStatus {
        let status = self.process.wait().unwrap();
        (self.process, self.address) =
            spawn(super::newroot(), self.directory.path(), &self.arguments, &self.environment);
        status
    }

    /// Ends the server by a signal and waits for it, for a minute at most.
    pub fn stop(&mut self, signal: Signal) -> std::process::ExitStatus {
        kill(self.pid(), signal).unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            if begun.elapsed() > PATIENCE {
                kill(self.pid(), Signal::SIGKILL).unwrap();
                panic!("{signal} has not ended the server");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The server's process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// The process that does for the server what takes root.
    pub fn helper(&self) -> Pid {
        let children = super::children_of(self.pid());
        assert_eq!(children.len(), 1, "a server has its helper, and starts nothing else");
        children[0]
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its `--run` directory.
    pub fn run(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// Where labs have their directories.
    pub fn labs(&self) -> PathBuf {
        self.run().join("labs")
    }

    /// What this test, which is root, does with its labs without asking the server.
    pub fn keeper(&self) -> Keeper {
        Keeper::to_end(self.labs())
    }

    /// What the server has said on standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Where images are kept.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Sends a request as it is; returns the answer.
    pub fn ask(&self, request: &str) -> String {
        let mut stream = StdTcpStream::connect(self.address).unwrap();
        write!(stream, "{request}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The cookie that a new browser gets: `newroot=…`.
    pub fn new_cookie(&self) -> String {
        let answer = self.ask(&format!("GET / HTTP/1.1\r\nHost: {}", self.address));
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie is set");
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Ends the lab of this cookie, if it has not ended yet; returns when nothing is left of it.
    pub fn end_lab(&self, cookie: &str) {
        let address = self.address;
        let request = format!(
            "DELETE /api/lab HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: {cookie}\r\nContent-Length: 0"
        );
        let answer = self.ask(&request);
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }

    /// Opens a page on the lab of this cookie, and waits until both shells are there.
    pub async fn open(&self, cookie: &str) -> Page {
        let mut page = self.connect(cookie, None, vec![]).await;
        page.until("two prompts", |page| page.has_prompt(HOST) && page.has_prompt(CONTAINER)).await;
        page
    }

    /// Opens a page that already shows this much of a machine's terminals.
    pub async fn connect(&self, cookie: &str, machine: Option<MachineId>, shown: Vec<(TerminalId, Offset)>) -> Page {
        let mut page = self.dial(cookie, "/api/lab").await;
        page.ends = shown.iter().copied().collect();
        page.tell(&ToLab::Hello { machine, terminals: shown }).await;
        page.until("the greeting", |page| page.machine.is_some()).await;
        page
    }

    /// Opens a WebSocket and says nothing: `/api/lab?resume` for a machine that must be there already.
    pub async fn dial(&self, cookie: &str, path: &str) -> Page {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", format!("http://{}", self.address).parse().unwrap());
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        let carrier: Box<dyn Carrier> = match &self.bridge {
            None => {
                let stream = TcpStream::connect(self.address).await.unwrap();
                // As browsers do; else a key would wait for the acknowledgement before it.
                stream.set_nodelay(true).unwrap();
                Box::new(stream)
            }
            Some(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        };
        let (socket, _) = match tokio_tungstenite::client_async(request, carrier).await {
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                panic!("{}: {}", response.status(), String::from_utf8_lossy(&body));
            }
            result => result.unwrap(),
        };
        Page::new(socket)
    }
}

/// A directory that only root may search, as /root and /var/lib/newroot are.
fn closed_directory() -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

impl Drop for Playground {
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGINT);
        let _ = self.process.wait();
    }
}

fn spawn(
    mut newroot: Command,
    directory: &Path,
    arguments: &[String],
    environment: &[(String, PathBuf)],
) -> (Child, SocketAddr) {
    let log = fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
    newroot
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg("--run")
        .arg(directory.join("run"))
        .arg("--state")
        .arg(directory.join("state"))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(log);
    let mut process = newroot.spawn().unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
    let address = loop {
        let Some(line) = said.next() else {
            panic!("newroot serve did not start:\n{}", fs::read_to_string(directory.join("log")).unwrap());
        };
        if let Some((_, rest)) = line.unwrap().split_once("http://") {
            break rest.split([' ', '/']).next().unwrap().parse().unwrap();
        }
    };
    std::thread::spawn(move || said.for_each(drop));
    (process, address)
}
