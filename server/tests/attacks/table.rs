//! What came of an attack, and the table of all.

use std::fmt;

use crate::rows::{By, Row};

/// How an attack went, as the attacker says it.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It got what it should not.
    Escaped(String),
    /// It did not.
    Held(String),
}

impl Outcome {
    /// Whether it got what it should not.
    pub fn has_escaped(&self) -> bool {
        matches!(self, Outcome::Escaped(_))
    }

    /// By what that is seen.
    pub fn why(&self) -> &str {
        let (Outcome::Escaped(why) | Outcome::Held(why)) = self;
        why
    }

    /// What the attacker has printed of an attack. A prompt may stand before it.
    pub fn of(name: &str, said: &str) -> Option<Outcome> {
        // With a prompt, busybox's shell asks where the cursor is.
        said.replace("\u{1b}[6n", " ").lines().find_map(|line| {
            let is_named =
                |before: &str| before.strip_suffix(name).is_some_and(|rest| !rest.ends_with(is_part_of_a_name));
            let (escaped, held) = (line.split_once(": escaped: "), line.split_once(": held: "));
            let escaped =
                escaped.filter(|(before, _)| is_named(before)).map(|(_, why)| Outcome::Escaped(why.to_owned()));
            escaped
                .or_else(|| held.filter(|(before, _)| is_named(before)).map(|(_, why)| Outcome::Held(why.to_owned())))
        })
    }
}

fn is_part_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Outcome::Escaped(why) => write!(out, "succeeded: {why}"),
            Outcome::Held(why) => write!(out, "held: {why}"),
        }
    }
}

/// The table of a part, and what is wrong in it.
#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 4]>,
    faults: Vec<String>,
}

impl Table {
    /// Adds a row: its name, its defence, and how it went with and without that.
    pub fn add(&mut self, name: &str, defence: &str, with: &str, without: &str) {
        self.rows.push([name, defence, with, without].map(str::to_owned));
    }

    /// Takes note of an attack that went otherwise than it must.
    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// Adds a row for an attack. `twin` is the same where it may succeed. What does not go on this machine at all, because its
    /// kernel has no such thing, proves nothing, but is no fault.
    pub fn judge(&mut self, row: &Row, with: &Outcome, without: Option<&Outcome>, twin: &Outcome) {
        let (name, defence) = (row.name, row.by.name());
        if row.is_pending {
            if !with.has_escaped() && twin.has_escaped() {
                self.fault(format!("{name}: its defence is there, so it is not pending any more: {with}"));
            }
            self.add(name, &format!("{defence} (to come)"), &with.to_string(), "");
            return;
        }
        if with.has_escaped() {
            self.fault(format!("{name}: {with}"));
        }
        let off = match (row.by, without) {
            (By::Defence(_), Some(without)) if without.has_escaped() => without.to_string(),
            (By::Kernel(_), _) if twin.has_escaped() => format!("the kernel's own; on the machine it {twin}"),
            (By::Always(_), _) if twin.has_escaped() => format!("always there; its honest twin {twin}"),
            (By::Defence(_) | By::Kernel(_), _) if !twin.has_escaped() => {
                format!("not to be had on this machine at all: {}", twin.why())
            }
            _ => {
                let off = without.unwrap_or(twin);
                self.fault(format!("{name}: without {defence} it is held as well: {off}"));
                off.to_string()
            }
        };
        self.add(name, defence, &with.to_string(), &off);
    }

    /// Prints it. All faults are told at once.
    pub fn finish(self, title: &str) {
        println!("\n| {title} | defence | with it | without it |\n|---|---|---|---|");
        for [name, defence, with, without] in &self.rows {
            println!("| {name} | {defence} | {with} | {without} |");
        }
        println!();
        assert!(self.faults.is_empty(), "{} attacks went otherwise:\n{}", self.faults.len(), self.faults.join("\n"));
    }
}
