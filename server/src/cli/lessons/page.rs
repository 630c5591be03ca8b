//! A page without a browser: as much of the protocol as it takes to type commands and to see what comes of them.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use newroot::lab::Handle;
use shared::protocol::{Frame, FrameKind, Offset, Terminal, TerminalId, ToLab, ToPage};
use shared::task::TaskState;

/// A program that has said nothing for so long, and gives no prompt, is meant to stay in front.
const QUIET: Duration = Duration::from_secs(5);
/// No command of a lesson takes longer.
const LONGEST: Duration = Duration::from_secs(120);
/// How busybox's shell asks where the cursor is (DSR, ECMA-48).
const ASKS: &str = "\x1b[6n";
/// As much of a terminal's output is looked at.
const TAIL: usize = 2000;

/// A page that is open on a lab.
pub struct Page {
    socket: WebSocketStream<UnixStream>,
    terminals: BTreeMap<TerminalId, Terminal>,
    /// The last output of each terminal, as text.
    shown: BTreeMap<TerminalId, String>,
    /// How far the learner is.
    pub tasks: BTreeMap<String, TaskState>,
}

impl Page {
    /// Opens a page, and waits for a prompt in each terminal.
    pub async fn open(lab: &Handle) -> Result<Page> {
        let (ours, theirs) = StdUnixStream::pair().context("cannot make a pair of sockets")?;
        ours.set_nonblocking(true)?;
        lab.hand_over(&theirs, Vec::new()).await.context("the lab does not take a page")?;
        let socket = WebSocketStream::from_raw_socket(UnixStream::from_std(ours)?, Role::Client, None).await;
        let mut page = Page { socket, terminals: BTreeMap::new(), shown: BTreeMap::new(), tasks: BTreeMap::new() };
        page.tell(&ToLab::Hello { machine: None, terminals: Vec::new() }).await?;
        let ready = |page: &Page| {
            !page.terminals.is_empty() && page.terminals.keys().all(|terminal| page.has_prompt(*terminal))
        };
        if !page.until(LONGEST, ready).await? {
            bail!("the terminals of the lab have no prompts");
        }
        Ok(page)
    }

    /// Says something to the lab.
    pub async fn tell(&mut self, message: &ToLab) -> Result<()> {
        Ok(self.socket.send(Message::Text(serde_json::to_string(message)?.into())).await?)
    }

    /// Types a command into the terminal of this name, line by line, and waits after each until it is through: there is a
    /// prompt again, of whatever shell is in front then, or the program stays in front. False where there is no prompt to
    /// begin with, for somebody is still in front.
    pub async fn run(&mut self, name: &str, command: &str) -> Result<bool> {
        let Some(id) = self.terminals.values().find(|terminal| terminal.name == name).map(|terminal| terminal.id)
        else {
            bail!("the lab has no terminal {name}");
        };
        if !self.terminals[&id].running {
            // As a learner does when the shell has exited.
            self.shown.remove(&id);
            self.tell(&ToLab::Restart { terminal: id }).await?;
        }
        for line in command.lines() {
            if !self.until_quiet(id).await? {
                return Ok(false);
            }
            self.shown.remove(&id);
            let bytes = format!("{line}\n");
            let frame = Frame { kind: FrameKind::Input, terminal: id, offset: Offset(0), bytes: bytes.as_bytes() };
            self.socket.send(Message::Binary(frame.encode().into())).await?;
            self.until_quiet(id).await?;
        }
        Ok(true)
    }

    /// Waits until a terminal has a prompt, or has said nothing for a while; says whether it has a prompt.
    async fn until_quiet(&mut self, terminal: TerminalId) -> Result<bool> {
        let end = Instant::now() + LONGEST;
        while !self.has_prompt(terminal) && self.terminals.get(&terminal).is_some_and(|terminal| terminal.running) {
            let before = self.shown.get(&terminal).cloned();
            let changed = |page: &Page| page.shown.get(&terminal) != before.as_ref();
            if Instant::now() > end || !self.until(QUIET, changed).await? {
                return Ok(self.has_prompt(terminal));
            }
        }
        Ok(true)
    }

    /// Takes what comes until the condition holds; false where that takes too long.
    pub async fn until(&mut self, patience: Duration, condition: impl Fn(&Page) -> bool) -> Result<bool> {
        let end = Instant::now() + patience;
        while !condition(self) {
            match timeout_at(end, self.socket.next()).await {
                Err(_elapsed) => return Ok(false),
                Ok(Some(message)) => self.take(message.context("the connection to the lab broke")?).await?,
                Ok(None) => bail!("the lab has ended"),
            }
        }
        Ok(true)
    }

    /// What a terminal has shown last, for people.
    pub fn tail(&self, name: &str) -> &str {
        let terminal = self.terminals.values().find(|terminal| terminal.name == name);
        terminal.and_then(|terminal| self.shown.get(&terminal.id)).map_or("", String::as_str)
    }

    /// Whether a shell waits in a terminal: its last output is a prompt, or since the last line that was typed busybox has
    /// asked behind one where the cursor is. What comes then comes from the background.
    fn has_prompt(&self, terminal: TerminalId) -> bool {
        let shown = self.shown.get(&terminal).map_or("", String::as_str);
        let last = shown.rsplit('\n').next().unwrap_or_default();
        let last = last.trim_end_matches(ASKS).trim_end_matches("\x1b[J");
        // Those of root, of others, and of a shell that waits for the rest of a command.
        let prompts = ["# ", "$ ", "> "];
        prompts.iter().any(|prompt| last.ends_with(prompt) || shown.contains(&format!("{prompt}{ASKS}")))
    }

    async fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Binary(wire) => {
                let Some(frame) = Frame::decode(&wire) else { bail!("the lab sent what is no frame") };
                let (terminal, offset) = (frame.terminal, Offset(frame.offset.0 + frame.bytes.len() as u64));
                let shown = self.shown.entry(terminal).or_default();
                shown.push_str(&String::from_utf8_lossy(frame.bytes));
                let extra = shown.len().saturating_sub(TAIL);
                let start = (extra..=shown.len()).find(|&place| shown.is_char_boundary(place)).unwrap_or(extra);
                shown.drain(..start);
                self.tell(&ToLab::Acknowledge { terminal, offset }).await?;
            }
            Message::Text(text) => match serde_json::from_str(&text)? {
                ToPage::Hello { terminals, .. } => {
                    self.terminals = terminals.into_iter().map(|terminal| (terminal.id, terminal)).collect();
                }
                ToPage::Terminal { terminal } => drop(self.terminals.insert(terminal.id, terminal)),
                ToPage::TerminalGone { terminal } => drop(self.terminals.remove(&terminal)),
                ToPage::Tasks { tasks } => self.tasks.extend(tasks.into_iter().map(|task| (task.id.clone(), task))),
                // Mount tables and the like are for people to look at.
                _ => {}
            },
            Message::Close(_) => bail!("the lab has closed the page"),
            _ => {}
        }
        Ok(())
    }

    /// Closes the page.
    pub async fn close(mut self) {
        // Whoever does not take that is ended in a moment.
        let _ = timeout(QUIET, self.socket.close(None)).await;
    }
}
