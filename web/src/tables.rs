//! The mount tables that the page shows, with what changed in them lately. Knows neither the socket nor the screen;
//! times are milliseconds since 1970, given by the caller.

use shared::mount::{Mount, MountId, TableDiff};
use shared::protocol::{View, ViewId};

/// How long a row or a card is marked as new or changed.
const FRESH: f64 = 20_000.0;
/// How long what has gone stays, struck through.
const LINGER: f64 = 3_000.0;

/// What happened to a row or to a whole card, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mark {
    /// Nothing lately.
    #[default]
    None,
    /// It appeared.
    New(f64),
    /// Its fields changed: a remount, another propagation type.
    Changed(f64),
    /// It went, and is shown a little longer.
    Gone(f64),
}

impl Mark {
    /// Whether it is still there.
    pub fn is_gone(self) -> bool {
        matches!(self, Mark::Gone(_))
    }

    /// The mark as time passes; `None` once what it marks may leave the screen.
    fn age(self, now: f64) -> Option<Mark> {
        match self {
            Mark::New(at) | Mark::Changed(at) if now - at >= FRESH => Some(Mark::None),
            Mark::Gone(at) if now - at >= LINGER => None,
            mark => Some(mark),
        }
    }
}

/// A row of a card.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The mount.
    pub mount: Mount,
    /// What happened to it lately.
    pub mark: Mark,
}

/// A view with its rows: one card.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The view.
    pub view: View,
    /// Its rows in the kernel's order, with those that have just gone.
    pub rows: Vec<Row>,
    /// What happened to it lately.
    pub mark: Mark,
    /// Whether the lab has named it since the last greeting.
    confirmed: bool,
}

impl Card {
    /// The rows that are there now.
    pub fn mounts(&self) -> Vec<Mount> {
        self.rows.iter().filter(|row| !row.mark.is_gone()).map(|row| row.mount.clone()).collect()
    }

    fn apply(&mut self, diff: TableDiff, now: f64) {
        for row in self.rows.iter_mut().filter(|row| diff.removed.contains(&row.mount.id)) {
            row.mark = Mark::Gone(now);
        }
        for mount in diff.set {
            self.set(mount, now);
        }
    }

    fn set(&mut self, mount: Mount, now: f64) {
        let place = |id: MountId| move |row: &Row| row.mount.id == id && !row.mark.is_gone();
        match self.rows.iter().position(place(mount.id)) {
            Some(place) => {
                // A row that is new stays new, whatever is done to it next.
                let row = &mut self.rows[place];
                row.mark = if let Mark::New(at) = row.mark { Mark::New(at) } else { Mark::Changed(now) };
                row.mount = mount;
            }
            None => {
                // The kernel uses numbers again: no two rows may have the same, not even one that has gone.
                self.rows.retain(|row| row.mount.id != mount.id);
                self.rows.push(Row { mount, mark: Mark::New(now) });
            }
        }
    }
}

/// All cards, the host's first, then in the order of their mount namespaces.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    cards: Vec<Card>,
    /// Whether the first tables after a greeting have come: what comes from then on is news.
    settled: bool,
}

impl Tables {
    /// The cards in the order of the screen.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// The card of a view.
    pub fn card(&self, id: ViewId) -> Option<&Card> {
        self.cards.iter().find(|card| card.view.id == id)
    }

    /// A greeting came: the lab tells all its views again, and those that it leaves out are no more.
    pub fn greeted(&mut self) {
        self.settled = false;
        for card in &mut self.cards {
            card.confirmed = false;
        }
    }

    /// The views after a greeting are all told.
    pub fn settle(&mut self) {
        self.settled = true;
        self.cards.retain(|card| card.confirmed);
    }

    /// A view appeared or, where `rows` is absent, its processes changed.
    pub fn view(&mut self, view: View, rows: Option<Vec<Mount>>, now: f64) {
        let same = |card: &Card| (card.view.mount_namespace, &card.view.root) == (view.mount_namespace, &view.root);
        let known = self.cards.iter().position(|card| card.view.id == view.id && same(card) && !card.mark.is_gone());
        match (known, rows) {
            (Some(place), rows) => {
                let card = &mut self.cards[place];
                card.view = view;
                card.confirmed = true;
                if let Some(rows) = rows {
                    card.apply(TableDiff::between(&card.mounts(), &rows), now);
                }
            }
            (None, rows) => {
                self.cards.retain(|card| card.view.id != view.id);
                let rows = rows.unwrap_or_default();
                let rows = rows.into_iter().map(|mount| Row { mount, mark: Mark::None }).collect();
                let mark = if self.settled { Mark::New(now) } else { Mark::None };
                self.cards.push(Card { view, rows, mark, confirmed: true });
                self.cards.sort_by_key(|card| (card.view.ordinal, card.view.id));
            }
        }
    }

    /// Rows of a view changed.
    pub fn rows(&mut self, id: ViewId, diff: TableDiff, now: f64) {
        if let Some(card) = self.cards.iter_mut().find(|card| card.view.id == id) {
            card.apply(diff, now);
        }
    }

    /// The last process of a view has gone.
    pub fn gone(&mut self, id: ViewId, now: f64) {
        if let Some(card) = self.cards.iter_mut().find(|card| card.view.id == id) {
            card.mark = Mark::Gone(now);
        }
    }

    /// Whether [`Tables::age`] would change anything.
    pub fn has_aged(&self, now: f64) -> bool {
        let aged = |mark: Mark| mark.age(now) != Some(mark);
        self.cards.iter().any(|card| aged(card.mark) || card.rows.iter().any(|row| aged(row.mark)))
    }

    /// Lets marks fade, and what has gone leave.
    pub fn age(&mut self, now: f64) {
        self.cards.retain_mut(|card| {
            card.rows.retain_mut(|row| row.mark.age(now).inspect(|mark| row.mark = *mark).is_some());
            card.mark.age(now).inspect(|mark| card.mark = *mark).is_some()
        });
    }
}
