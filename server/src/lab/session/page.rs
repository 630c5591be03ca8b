//! What one page has, as far as the lab knows, and what it therefore lacks.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use tokio_tungstenite::tungstenite::Message;

use shared::protocol::{Frame, FrameKind, Offset, TAKEN_EACH, Terminal as Described, TerminalId, ToPage, Used, WINDOW};

use crate::lab::Lab;
use crate::lab::state::Ending;
use crate::lab::terminal::Terminal;
use crate::lab::terminal::pump::PIECE;
use crate::lab::told::Told;
use crate::lab::trace::Change;

/// What one page has.
#[derive(Default)]
pub struct Page {
    /// It has said how much it shows already. Before that nothing is sent.
    greeted: Cell<bool>,
    has: RefCell<Has>,
}

#[derive(Default)]
struct Has {
    /// It knows the machine and its terminals.
    welcomed: bool,
    /// What it was told of its ownership.
    owner: Option<bool>,
    terminals: BTreeMap<TerminalId, Shown>,
    views: Told,
    calls: Change,
    origins: Change,
    stepping: Option<bool>,
    used: Option<Used>,
    ending: Option<Ending>,
}

/// What a page has of one terminal.
#[derive(Default)]
struct Shown {
    /// What it was told of it; `None` where that is still to come.
    described: Option<Described>,
    /// Output before this place was sent to it,
    sent: Offset,
    /// and before this place it has parsed.
    acknowledged: Offset,
    /// How many bytes it has typed,
    typed: u64,
    /// where the last of them is among all that was typed into the terminal,
    typed_until: u64,
    /// and how many it knows to be taken.
    taken: u64,
}

impl Page {
    /// It has said how much of each terminal's output it shows. The numbers are clamped to what can be true.
    pub fn greet(&self, known: &HashMap<TerminalId, Offset>, lab: &Lab) {
        self.greeted.set(true);
        let mut has = self.has.borrow_mut();
        for terminal in lab.terminals() {
            let ring = terminal.output.borrow();
            let offset = known.get(&terminal.id).copied().unwrap_or(ring.beginning()).min(ring.end());
            has.terminals.insert(terminal.id, Shown { sent: offset, acknowledged: offset, ..Shown::default() });
        }
    }

    /// Whether it has said how much it shows.
    pub fn has_greeted(&self) -> bool {
        self.greeted.get()
    }

    /// It has parsed output. The number is clamped to what can be true.
    pub fn acknowledge(&self, terminal: TerminalId, offset: Offset) {
        if let Some(shown) = self.has.borrow_mut().terminals.get_mut(&terminal) {
            shown.acknowledged = offset.clamp(shown.acknowledged, shown.sent);
        }
    }

    /// It has typed so many bytes, and the last of them is there among all that was typed into the terminal.
    pub fn typed(&self, terminal: TerminalId, bytes: usize, until: u64) {
        if let Some(shown) = self.has.borrow_mut().terminals.get_mut(&terminal) {
            shown.typed += bytes as u64;
            shown.typed_until = until;
        }
    }

    /// Whether the terminal may produce output beyond `end` as far as this page is concerned.
    pub fn has_room(&self, terminal: TerminalId, end: Offset) -> bool {
        let has = self.has.borrow();
        let acknowledged = has.terminals.get(&terminal).map_or(0, |shown| shown.acknowledged.0);
        end.0.saturating_sub(acknowledged) < WINDOW
    }

    /// What the page lacks, as messages; from then on it is held to have it.
    pub fn catch_up(&self, lab: &Lab) -> Vec<Message> {
        let mut messages = Vec::new();
        if !self.greeted.get() {
            return messages;
        }
        let mut has = self.has.borrow_mut();
        if !has.welcomed {
            has.welcomed = true;
            let terminals: Vec<_> = lab.terminals().iter().map(|terminal| lab.describe(terminal)).collect();
            for described in &terminals {
                has.terminals.entry(described.id).or_default().described = Some(described.clone());
            }
            let (build, machine, hostname) = (shared::BUILD.into(), lab.machine().clone(), lab.hostname().into());
            messages.extend(text(&ToPage::Hello { build, machine, hostname, terminals }));
        }
        let owner = lab.is_owner(self);
        if has.owner != Some(owner) {
            has.owner = Some(owner);
            messages.extend(text(&ToPage::Ownership { owner }));
        }
        messages.extend(has.views.catch_up(&lab.views()).iter().filter_map(text));
        has.catch_up_calls(lab, &mut messages);
        has.catch_up_terminals(lab, &mut messages);
        has.catch_up_limits(lab, &mut messages);
        messages
    }

    /// A page that has greeted and has parsed this much of a terminal.
    #[cfg(test)]
    pub fn standing_at(terminal: TerminalId, offset: Offset) -> Page {
        let page = Page::default();
        page.greeted.set(true);
        let shown = Shown { sent: offset, acknowledged: offset, ..Shown::default() };
        page.has.borrow_mut().terminals.insert(terminal, shown);
        page
    }
}

impl Has {
    fn catch_up_calls(&mut self, lab: &Lab, messages: &mut Vec<Message>) {
        let on = lab.trace().is_stepping();
        if self.stepping.replace(on) != Some(on) {
            messages.extend(text(&ToPage::StepThrough { on }));
        }
        let calls = lab.trace().since(&mut self.calls);
        if !calls.is_empty() {
            messages.extend(text(&ToPage::Calls { calls }));
        }
        messages.extend(lab.trace().origins_since(&mut self.origins).iter().filter_map(text));
    }

    fn catch_up_terminals(&mut self, lab: &Lab, messages: &mut Vec<Message>) {
        let live = lab.terminals();
        self.terminals.retain(|&id, _| {
            let lives = live.iter().any(|terminal| terminal.id == id);
            if !lives {
                messages.extend(text(&ToPage::TerminalGone { terminal: id }));
            }
            lives
        });
        for terminal in live {
            self.terminals.entry(terminal.id).or_default().catch_up(&terminal, lab.describe(&terminal), messages);
        }
    }

    fn catch_up_limits(&mut self, lab: &Lab, messages: &mut Vec<Message>) {
        let used = lab.use_seen();
        if self.used.replace(used) != Some(used) {
            messages.extend(text(&ToPage::Limits { limits: lab.limits().clone(), used }));
        }
        let ending = lab.ending();
        if self.ending != ending {
            self.ending = ending;
            messages.extend(text(&match ending {
                Some(ending) => ToPage::Ends { in_seconds: ending.in_seconds(), why: ending.cause },
                None => ToPage::Stays,
            }));
        }
    }
}

impl Shown {
    fn catch_up(&mut self, terminal: &Terminal, now: Described, messages: &mut Vec<Message>) {
        if self.described.is_none() {
            // Before its output, with which a page that does not know the terminal could do nothing.
            messages.extend(text(&ToPage::Terminal { terminal: now.clone() }));
            self.described = Some(now.clone());
        }
        let ring = terminal.output.borrow();
        if self.sent < ring.start() {
            // This page lagged (it is not the owner, for whom the terminal waits), or was away for long.
            (self.sent, self.acknowledged) = (ring.beginning(), ring.beginning());
            messages.extend(text(&ToPage::Skip { terminal: terminal.id, offset: self.sent }));
        }
        while self.sent < ring.end() && self.sent.0 - self.acknowledged.0 < WINDOW {
            let bytes = ring.read(self.sent, PIECE);
            let frame = Frame { kind: FrameKind::Output, terminal: terminal.id, offset: self.sent, bytes: &bytes };
            messages.push(Message::Binary(frame.encode().into()));
            self.sent.0 += bytes.len() as u64;
        }
        if self.described.as_ref() != Some(&now) {
            messages.extend(text(&ToPage::Terminal { terminal: now.clone() }));
            self.described = Some(now);
        }
        // Other pages may have typed in between: then some of theirs is counted as this page's, for a moment.
        let waiting = self.typed_until.saturating_sub(terminal.taken());
        let taken = self.typed.saturating_sub(waiting);
        if taken >= self.taken + TAKEN_EACH {
            self.taken = taken;
            messages.extend(text(&ToPage::Taken { terminal: terminal.id, offset: Offset(taken) }));
        }
    }
}

/// `None` cannot happen: the protocol's types have no map with keys that JSON lacks.
fn text(message: &ToPage) -> Option<Message> {
    serde_json::to_string(message).ok().map(|json| Message::Text(json.into()))
}
