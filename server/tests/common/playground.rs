//! A real `newroot serve` on a free port, and a page's side of its WebSocket without a browser.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::mount::Mount;
use shared::protocol::{
    Frame, FrameKind, MOST_ROWS_AT_ONCE, MachineId, Offset, Terminal, TerminalId, ToLab, ToPage, View, ViewId,
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

/// The first terminal: `host`.
pub const HOST: TerminalId = TerminalId(0);
/// The second terminal: `container`.
pub const CONTAINER: TerminalId = TerminalId(1);

/// How long anything may take on a machine that does much else. Nothing is timed by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that ends, with its labs, when this is dropped.
pub struct Playground {
    process: Child,
    address: SocketAddr,
    directory: TempDir,
    upstream: Option<String>,
}

impl Playground {
    /// Starts a server whose mirror asks this registry, or none that can be reached.
    pub fn start(upstream: Option<&str>) -> Playground {
        let directory = tempfile::tempdir().unwrap();
        let upstream = upstream.map(str::to_owned);
        let (process, address) = spawn(directory.path(), upstream.as_deref());
        Playground { process, address, directory, upstream }
    }

    /// Ends the server by a signal and starts another one on the same directories.
    pub fn restart_after(&mut self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
        self.process.wait().unwrap();
        (self.process, self.address) = spawn(self.directory.path(), self.upstream.as_deref());
    }

    /// Ends the server by a signal and waits for it.
    pub fn stop(&mut self, signal: Signal) -> std::process::ExitStatus {
        kill(self.pid(), signal).unwrap();
        self.process.wait().unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where labs have their directories.
    pub fn labs(&self) -> PathBuf {
        self.directory.path().join("run/labs")
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

    /// Ends the lab of this cookie; returns when nothing is left of it.
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
        let mut request = format!("ws://{}/api/lab", self.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", format!("http://{}", self.address).parse().unwrap());
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        let tcp = TcpStream::connect(self.address).await.unwrap();
        // As browsers do.
        tcp.set_nodelay(true).unwrap();
        let (socket, _) = match tokio_tungstenite::client_async(request, tcp).await {
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                panic!("{}: {}", response.status(), String::from_utf8_lossy(&body));
            }
            result => result.unwrap(),
        };
        let mut page = Page {
            socket,
            machine: None,
            terminals: BTreeMap::new(),
            output: BTreeMap::new(),
            ends: shown.iter().copied().collect(),
            views: BTreeMap::new(),
            rows_told: 0,
            not_shown: (0, false),
            closed: None,
        };
        page.tell(&ToLab::Hello { machine, terminals: shown }).await;
        page.until("the greeting", |page| page.machine.is_some()).await;
        page
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGINT);
        let _ = self.process.wait();
    }
}

fn spawn(directory: &Path, upstream: Option<&str>) -> (Child, SocketAddr) {
    let log = fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let mut process = super::newroot()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg("--run")
        .arg(directory.join("run"))
        .arg("--state")
        .arg(directory.join("state"))
        // A port that nobody listens on, rather than Docker Hub, which tests must not ask.
        .args(["--upstream", upstream.unwrap_or("http://127.0.0.1:9")])
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
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

/// What a page knows, and its connection.
pub struct Page {
    socket: WebSocketStream<TcpStream>,
    /// The machine, as it greeted.
    pub machine: Option<MachineId>,
    /// The terminals.
    pub terminals: BTreeMap<TerminalId, Terminal>,
    /// What each terminal has shown since this page was opened.
    pub output: BTreeMap<TerminalId, Vec<u8>>,
    /// How much of each terminal's output the page has.
    pub ends: BTreeMap<TerminalId, Offset>,
    /// The views with their rows.
    pub views: BTreeMap<ViewId, (View, Vec<Mount>)>,
    /// How many rows were told since this page was opened, in whatever message.
    pub rows_told: usize,
    /// How many views the lab does not show, and whether it looks at all processes.
    pub not_shown: (u32, bool),
    /// The code with which the lab closed the connection.
    pub closed: Option<u16>,
}

impl Page {
    /// Types a line into a terminal.
    pub async fn run(&mut self, terminal: TerminalId, line: &str) {
        self.type_keys(terminal, format!("{line}\n").as_bytes()).await;
    }

    /// Types into a terminal.
    pub async fn type_keys(&mut self, terminal: TerminalId, bytes: &[u8]) {
        let frame = Frame { kind: FrameKind::Input, terminal, offset: Offset(0), bytes };
        self.socket.send(Message::Binary(frame.encode().into())).await.unwrap();
    }

    /// Sends a message.
    pub async fn tell(&mut self, message: &ToLab) {
        self.socket.send(Message::Text(serde_json::to_string(message).unwrap().into())).await.unwrap();
    }

    /// Takes what comes until the condition holds.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Page) -> bool) {
        let waiting = async {
            while !condition(self) {
                assert!(self.closed.is_none(), "closed with {:?} while waiting for {what}", self.closed);
                self.take_one().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let texts: Vec<_> = self.output.values().map(|bytes| String::from_utf8_lossy(bytes)).collect();
            panic!("{what} did not come; terminals: {texts:#?}; views: {:#?}", self.views);
        }
    }

    /// Whether a terminal waits for a command: its last output is a prompt, and busybox's question where the cursor is.
    pub fn has_prompt(&self, terminal: TerminalId) -> bool {
        self.text_since(terminal, 0).trim_end_matches("\x1b[6n").ends_with("# ")
    }

    /// Runs a command, once there is a prompt, and returns what it prints.
    pub async fn output_of(&mut self, terminal: TerminalId, command: &str) -> String {
        self.until("a prompt", |page| page.has_prompt(terminal)).await;
        let before = self.output.get(&terminal).map_or(0, Vec::len);
        // The echo of the command has the word in two halves; the command's own output has it in one.
        self.run(terminal, &format!("{command}; echo =do\"\"ne=")).await;
        let done = |page: &Page| page.text_since(terminal, before).contains("=done=") && page.has_prompt(terminal);
        self.until("the end of the command", done).await;
        let text = self.text_since(terminal, before);
        let body = text.split_once('\n').map_or("", |(_echo, body)| body);
        body.split("=done=").next().unwrap_or_default().to_owned()
    }

    /// What a terminal has shown since a place in [`Page::output`].
    pub fn text_since(&self, terminal: TerminalId, start: usize) -> String {
        let output = self.output.get(&terminal).map_or(&[][..], Vec::as_slice);
        String::from_utf8_lossy(output.get(start..).unwrap_or_default()).into_owned()
    }

    /// The view whose eldest process has this name, newest first.
    pub fn view_of_program(&self, program: &str) -> Option<&(View, Vec<Mount>)> {
        self.views.values().rev().find(|(view, _)| view.processes.first().is_some_and(|p| p.program == program))
    }

    async fn take_one(&mut self) {
        match self.socket.next().await {
            Some(Ok(Message::Binary(wire))) => {
                let frame = Frame::decode(&wire).expect("the lab sends frames");
                assert_eq!(frame.kind, FrameKind::Output);
                let end = self.ends.entry(frame.terminal).or_insert(frame.offset);
                assert_eq!(*end, frame.offset, "bytes were lost or repeated");
                end.0 += frame.bytes.len() as u64;
                self.output.entry(frame.terminal).or_default().extend(frame.bytes);
                let acknowledge = ToLab::Acknowledge { terminal: frame.terminal, offset: *end };
                self.tell(&acknowledge).await;
            }
            Some(Ok(Message::Text(text))) => {
                self.apply(serde_json::from_str(&text).expect("the lab speaks the protocol"))
            }
            Some(Ok(Message::Close(frame))) => self.closed = Some(frame.map_or(1005, |frame| frame.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => self.closed = self.closed.or(Some(1006)),
        }
    }

    fn apply(&mut self, message: ToPage) {
        self.rows_told += match &message {
            ToPage::View { rows: Some(rows), .. } | ToPage::Rest { rows, .. } => rows.len(),
            ToPage::Rows { diff, .. } => diff.set.len(),
            _ => 0,
        };
        match message {
            ToPage::Hello { machine, terminals, .. } => {
                self.machine = Some(machine);
                self.terminals = terminals.into_iter().map(|terminal| (terminal.id, terminal)).collect();
            }
            ToPage::Terminal { terminal } => drop(self.terminals.insert(terminal.id, terminal)),
            ToPage::Skip { terminal, offset } => drop(self.ends.insert(terminal, offset)),
            ToPage::View { view, rows, more: _ } => match rows {
                Some(rows) => drop(self.views.insert(view.id, (view, rows))),
                None => {
                    let known = self.views.get_mut(&view.id).expect("a known view");
                    known.0 = view;
                }
            },
            ToPage::Rows { view, diff } => diff.apply(&mut self.views.get_mut(&view).expect("a known view").1),
            ToPage::Rest { view, rows, more: _ } => {
                assert!(rows.len() <= MOST_ROWS_AT_ONCE);
                self.views.get_mut(&view).expect("a known view").1.extend(rows);
            }
            ToPage::NotShown { views, processes } => self.not_shown = (views, processes),
            ToPage::ViewGone { view } => drop(self.views.remove(&view).expect("a known view")),
        }
    }
}

/// Whether a table has a row for this mount point and file system.
pub fn has_row(rows: &[Mount], mount_point: &str, fs_type: &str) -> bool {
    rows.iter().any(|row| row.mount_point == mount_point && row.fs_type == fs_type)
}
