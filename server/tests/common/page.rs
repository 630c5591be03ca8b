//! A page's side of its WebSocket, without a browser.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use shared::mount::{Mount, MountId};
use shared::protocol::{
    ACKNOWLEDGE_EACH, EndCause, Frame, FrameKind, INPUT_WINDOW, Limits, MOST_ROWS_AT_ONCE, MachineId, Offset, Terminal,
    TerminalId, ToLab, ToPage, Used, View, ViewId,
};
use shared::trace::{Call, CallId, CallState, Origin};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The first terminal: `host`.
pub const HOST: TerminalId = TerminalId(0);
/// The second terminal: `container`.
pub const CONTAINER: TerminalId = TerminalId(1);

/// How long anything may take on a machine that does much else. Nothing is timed by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What carries a WebSocket.
pub trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Carrier for S {}

/// What a page knows, and its connection.
pub struct Page {
    socket: WebSocketStream<Box<dyn Carrier>>,
    /// The machine, as it greeted.
    pub machine: Option<MachineId>,
    /// The terminals.
    pub terminals: BTreeMap<TerminalId, Terminal>,
    /// What each terminal has shown since this page was opened.
    pub output: BTreeMap<TerminalId, Vec<u8>>,
    /// How much of each terminal's output the page has.
    pub ends: BTreeMap<TerminalId, Offset>,
    acknowledged: BTreeMap<TerminalId, Offset>,
    /// Where output was left out for this page: after how many bytes of [`Page::output`], and where it went on.
    pub skips: Vec<(usize, Offset)>,
    /// Whether it owns the terminals.
    pub owner: bool,
    /// How many bytes of output it takes in a second, where that is bounded.
    pub rate: Option<f64>,
    /// Whether it acknowledges output.
    pub acknowledges: bool,
    typed: BTreeMap<TerminalId, u64>,
    taken: BTreeMap<TerminalId, u64>,
    /// The views with their rows.
    pub views: BTreeMap<ViewId, (View, Vec<Mount>)>,
    /// What the lab may use, and what it uses.
    pub limits: Option<(Limits, Used)>,
    /// The ends that the lab has warned of, as far as they still hold.
    pub warnings: Vec<(u64, EndCause)>,
    /// How often it was answered to a ping.
    pub pongs: u32,
    /// The calls that were told, each as it is now.
    pub calls: BTreeMap<CallId, Call>,
    /// Where rows come from, as far as that was told.
    pub origins: BTreeMap<(ViewId, MountId), Origin>,
    /// Whether calls wait.
    pub stepping: Option<bool>,
    /// How many rows were told since this page was opened, in whatever message.
    pub rows_told: usize,
    /// How many views the lab does not show, and whether it looks at all processes.
    pub not_shown: (u32, bool),
    /// The code with which the lab closed the connection.
    pub closed: Option<u16>,
    /// And the reason that it gave.
    pub reason: String,
}

impl Page {
    /// A page that has said nothing yet.
    pub fn new(socket: WebSocketStream<Box<dyn Carrier>>) -> Page {
        Page {
            socket,
            machine: None,
            terminals: BTreeMap::new(),
            output: BTreeMap::new(),
            ends: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            skips: Vec::new(),
            owner: false,
            rate: None,
            acknowledges: true,
            typed: BTreeMap::new(),
            taken: BTreeMap::new(),
            views: BTreeMap::new(),
            limits: None,
            warnings: Vec::new(),
            pongs: 0,
            calls: BTreeMap::new(),
            origins: BTreeMap::new(),
            stepping: None,
            rows_told: 0,
            not_shown: (0, false),
            closed: None,
            reason: String::new(),
        }
    }

    /// Types a line into a terminal.
    pub async fn run(&mut self, terminal: TerminalId, line: &str) {
        self.type_keys(terminal, format!("{line}\n").as_bytes()).await;
    }

    /// Types into a terminal.
    pub async fn type_keys(&mut self, terminal: TerminalId, bytes: &[u8]) {
        let frame = Frame { kind: FrameKind::Input, terminal, offset: Offset(0), bytes };
        *self.typed.entry(terminal).or_default() += bytes.len() as u64;
        self.send(Message::Binary(frame.encode().into())).await;
    }

    /// Pastes into a terminal: in pieces, and no more ahead of it than the window, as the page does.
    pub async fn paste(&mut self, terminal: TerminalId, bytes: &[u8]) {
        for piece in bytes.chunks(16 * 1024) {
            let room = |page: &Page| page.room_for_input(terminal) >= piece.len() as u64;
            self.until("room for input", room).await;
            self.type_keys(terminal, piece).await;
        }
    }

    /// How much it may type until the terminal has taken more.
    pub fn room_for_input(&self, terminal: TerminalId) -> u64 {
        let count = |of: &BTreeMap<TerminalId, u64>| of.get(&terminal).copied().unwrap_or_default();
        INPUT_WINDOW - (count(&self.typed) - count(&self.taken))
    }

    /// Sends anything.
    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends a message of so many bytes, as far as the lab takes it.
    pub async fn send_too_much(&mut self, bytes: usize) {
        let _cut_off = self.socket.send(Message::Binary(vec![2; bytes].into())).await;
    }

    /// Takes what comes until the other side has closed the connection, or it is lost.
    pub async fn until_closed(&mut self) {
        self.until_closed_or(|_| false).await;
    }

    /// Takes what comes until the condition holds, or the connection is closed or lost.
    pub async fn until_closed_or(&mut self, condition: impl Fn(&Page) -> bool) {
        let waiting = async {
            while self.closed.is_none() && !condition(self) {
                self.take_one().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let texts: Vec<_> = self.output.values().map(|bytes| String::from_utf8_lossy(bytes)).collect();
            panic!("neither closed nor what was waited for; terminals: {texts:#?}");
        }
    }

    /// Closes the connection from this side, and waits until the other has closed it too.
    pub async fn close(&mut self) {
        self.socket.send(Message::Close(None)).await.unwrap();
        // What still comes cannot be acknowledged any more.
        while let Some(Ok(message)) = self.socket.next().await {
            if matches!(message, Message::Close(_)) {
                break;
            }
        }
    }

    /// Sends a message.
    pub async fn tell(&mut self, message: &ToLab) {
        self.send(Message::Text(serde_json::to_string(message).unwrap().into())).await;
    }

    /// Takes what comes until the condition holds.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Page) -> bool) {
        let waiting = async {
            while !condition(self) {
                assert!(
                    self.closed.is_none(),
                    "closed with {:?} {} while waiting for {what}",
                    self.closed,
                    self.reason
                );
                self.take_one().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let tail =
                |bytes: &Vec<u8>| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(2000)..]).into_owned();
            let texts: Vec<_> = self.output.values().map(tail).collect();
            let views: Vec<_> = self.views.values().map(|(view, rows)| (view, rows.len())).collect();
            panic!("{what} did not come; terminals: {:#?} {texts:#?}; views: {views:#?}", self.terminals);
        }
    }

    /// Whether a terminal waits for a command: its last output is a prompt, and busybox's question where the cursor is,
    /// or what it clears after a change of size.
    pub fn has_prompt(&self, terminal: TerminalId) -> bool {
        let last = self.output.get(&terminal).map_or(0, |output| output.len().saturating_sub(100));
        let text = self.text_since(terminal, last);
        text.trim_end_matches("\x1b[6n").trim_end_matches("\x1b[J").ends_with("# ")
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

    /// The newest call with this name and these words among its arguments, if there is one.
    pub fn call(&self, name: &str, words: &str) -> Option<&Call> {
        let is_meant = |call: &&Call| call.name == name && arguments(call).contains(words);
        self.calls.values().rev().find(is_meant)
    }

    /// The call that waits, if one does.
    pub fn waiting(&self) -> Option<&Call> {
        self.calls.values().find(|call| call.state == CallState::Waiting)
    }

    async fn take_one(&mut self) {
        match self.socket.next().await {
            Some(Ok(Message::Binary(wire))) => {
                let frame = Frame::decode(&wire).expect("the lab sends frames");
                assert_eq!(frame.kind, FrameKind::Output);
                let end = self.ends.entry(frame.terminal).or_insert(frame.offset);
                assert_eq!(*end, frame.offset, "bytes were lost or repeated");
                end.0 += frame.bytes.len() as u64;
                let (terminal, end, length) = (frame.terminal, *end, frame.bytes.len());
                self.output.entry(terminal).or_default().extend(frame.bytes);
                if let Some(rate) = self.rate {
                    // Not a wait for anything: this is what makes it slow.
                    sleep(Duration::from_secs_f64(length as f64 / rate)).await;
                }
                let known = self.acknowledged.entry(terminal).or_default();
                // A piece of the size that asks for it, or the short one that ends an output.
                if self.acknowledges && (end.0 >= known.0 + ACKNOWLEDGE_EACH || length < ACKNOWLEDGE_EACH as usize) {
                    *known = end;
                    let json = serde_json::to_string(&ToLab::Acknowledge { terminal, offset: end }).unwrap();
                    // The lab may be about to close the connection, which is seen when all before that was read.
                    let _ = self.socket.send(Message::Text(json.into())).await;
                }
            }
            Some(Ok(Message::Text(text))) => {
                self.apply(serde_json::from_str(&text).expect("the lab speaks the protocol"))
            }
            Some(Ok(Message::Close(frame))) => {
                self.closed = Some(frame.as_ref().map_or(1005, |frame| frame.code.into()));
                self.reason = frame.map_or(String::new(), |frame| frame.reason.to_string());
            }
            Some(Ok(Message::Pong(_))) => self.pongs += 1,
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
            ToPage::Skip { terminal, offset } => {
                self.skips.push((self.output.get(&terminal).map_or(0, Vec::len), offset));
                self.ends.insert(terminal, offset);
            }
            ToPage::TerminalGone { terminal } => drop(self.terminals.remove(&terminal).expect("a known terminal")),
            ToPage::Taken { terminal, offset } => drop(self.taken.insert(terminal, offset.0)),
            ToPage::Ownership { owner } => self.owner = owner,
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
            ToPage::Limits { limits, used } => self.limits = Some((limits, used)),
            ToPage::Ends { in_seconds, why } => self.warnings.push((in_seconds, why)),
            ToPage::Stays => self.warnings.clear(),
            ToPage::Calls { calls } => self.calls.extend(calls.into_iter().map(|call| (call.id, call))),
            ToPage::Origins { view, rows } => {
                self.origins.extend(rows.into_iter().map(|(row, origin)| ((view, row), origin)));
            }
            ToPage::StepThrough { on } => self.stepping = Some(on),
            // Issue 7.
            ToPage::Tasks { .. } => {}
        }
    }
}

/// A call's arguments, as in a line of C.
pub fn arguments(call: &Call) -> String {
    call.arguments.iter().map(|argument| argument.value.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether a table has a row for this mount point and file system.
pub fn has_row(rows: &[Mount], mount_point: &str, fs_type: &str) -> bool {
    rows.iter().any(|row| row.mount_point == mount_point && row.fs_type == fs_type)
}
