//! The mount tables that the page shows, with what changed in them lately. Knows neither the socket nor the screen;
//! times are milliseconds since 1970, given by the caller.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shared::mount::{Mount, MountId, TableDiff};
use shared::protocol::{View, ViewId};
use shared::trace::Origin;

/// How long a row or a card is marked as new or changed.
const FRESH: f64 = 20_000.0;
/// How long what has gone stays, struck through.
const LINGER: f64 = 3_000.0;
/// Of more rows than this that come or go at once none is marked: nobody reads as many, and they would hide the others.
const MOST_MARKED: usize = 40;

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

    /// When it happened.
    pub fn since(self) -> Option<f64> {
        match self {
            Mark::None => None,
            Mark::New(at) | Mark::Changed(at) | Mark::Gone(at) => Some(at),
        }
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
    pub mount: Arc<Mount>,
    /// What happened to it lately.
    pub mark: Mark,
}

/// A view with its rows: one card.
#[derive(Clone, Debug)]
pub struct Card {
    /// The view.
    pub view: View,
    /// Its rows in the kernel's order, with those that have just gone.
    pub rows: Vec<Row>,
    /// What happened to it lately.
    pub mark: Mark,
    /// Where its rows come from, as far as that is known.
    origins: HashMap<MountId, Arc<Origin>>,
    /// Whether the lab has named it since the last greeting.
    confirmed: bool,
    /// The beginning of its table, while the rest is on its way.
    arriving: Option<Vec<Mount>>,
    revision: u64,
}

impl Card {
    /// The rows that are there now.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.rows.iter().filter(|row| !row.mark.is_gone()).map(|row| row.mount.as_ref())
    }

    /// Where a row comes from; `None` where it was there before the lab could look.
    pub fn origin(&self, row: MountId) -> Option<&Arc<Origin>> {
        self.origins.get(&row)
    }

    /// Counts what happened to the card: the same number, the same rows.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether more rows are on their way.
    pub fn is_arriving(&self) -> bool {
        self.arriving.is_some()
    }

    fn whole(&mut self, rows: Vec<Mount>, now: f64) {
        if self.rows.is_empty() {
            self.rows = rows.into_iter().map(|mount| Row { mount: Arc::new(mount), mark: Mark::None }).collect();
            return;
        }
        let known: Vec<Arc<Mount>> =
            self.rows.iter().filter(|row| !row.mark.is_gone()).map(|row| row.mount.clone()).collect();
        let rows: Vec<Arc<Mount>> = rows.into_iter().map(Arc::new).collect();
        self.apply(TableDiff::between(&known, &rows), now);
    }

    fn apply(&mut self, diff: TableDiff, now: f64) {
        let removed: HashSet<MountId> = diff.removed.into_iter().collect();
        // The kernel uses numbers again: no two rows may have the same, not even one that has gone.
        let set: HashSet<MountId> = diff.set.iter().map(|mount| mount.id).collect();
        let lingers = removed.len() <= MOST_MARKED;
        let many = set.len() > MOST_MARKED;
        self.origins.retain(|id, _| !removed.contains(id) || set.contains(id));
        self.rows.retain_mut(|row| {
            if removed.contains(&row.mount.id) && !row.mark.is_gone() {
                row.mark = Mark::Gone(now);
                return lingers && !set.contains(&row.mount.id);
            }
            !(row.mark.is_gone() && set.contains(&row.mount.id))
        });
        let places: HashMap<MountId, usize> =
            self.rows.iter().enumerate().map(|(place, row)| (row.mount.id, place)).collect();
        for mount in diff.set {
            match places.get(&mount.id) {
                Some(&place) => {
                    // A row that is new stays new, whatever is done to it next.
                    let row = &mut self.rows[place];
                    row.mark = match row.mark {
                        mark @ Mark::New(_) => mark,
                        _ if many => Mark::None,
                        _ => Mark::Changed(now),
                    };
                    row.mount = Arc::new(mount);
                }
                None => {
                    let mark = if many { Mark::None } else { Mark::New(now) };
                    self.rows.push(Row { mount: Arc::new(mount), mark });
                }
            }
        }
    }
}

/// All cards, the host's first, then in the order of their mount namespaces.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    cards: Vec<Card>,
    /// How many more views the lab has than it tells, and whether it has more processes than it looks at.
    pub not_shown: (u32, bool),
    /// Whether the first tables after a greeting have come: what comes from then on is news.
    settled: bool,
    revision: u64,
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
        self.not_shown = (0, false);
        for card in &mut self.cards {
            card.confirmed = false;
        }
    }

    /// The views after a greeting are all told.
    pub fn settle(&mut self) {
        self.settled = true;
        self.cards.retain(|card| card.confirmed);
    }

    /// A view appeared, with its rows or the first `more` than these; or, where `rows` is absent, its processes changed.
    pub fn view(&mut self, view: View, rows: Option<Vec<Mount>>, more: bool, now: f64) {
        let same =
            |card: &Card| (card.view.mount_namespace, card.view.root_mount) == (view.mount_namespace, view.root_mount);
        let known = self.cards.iter().position(|card| card.view.id == view.id && same(card) && !card.mark.is_gone());
        let id = view.id;
        match known {
            Some(place) => {
                self.cards[place].view = view;
                self.cards[place].confirmed = true;
            }
            None => {
                self.cards.retain(|card| card.view.id != id);
                let mark = if self.settled { Mark::New(now) } else { Mark::None };
                self.cards.push(Card {
                    view,
                    rows: Vec::new(),
                    mark,
                    origins: HashMap::new(),
                    confirmed: true,
                    arriving: None,
                    revision: 0,
                });
                self.cards.sort_by_key(|card| (card.view.ordinal, card.view.id));
            }
        }
        if let Some(rows) = rows {
            self.change(id, |card| card.arriving = Some(Vec::new()));
            self.rest(id, rows, more, now);
        }
    }

    /// The next rows of a view's table.
    pub fn rest(&mut self, id: ViewId, rows: Vec<Mount>, more: bool, now: f64) {
        self.change(id, |card| {
            let mut arrived = card.arriving.take().unwrap_or_default();
            arrived.extend(rows);
            match more {
                true => card.arriving = Some(arrived),
                false => card.whole(arrived, now),
            }
        });
    }

    /// Rows of a view changed.
    pub fn rows(&mut self, id: ViewId, diff: TableDiff, now: f64) {
        self.change(id, |card| card.apply(diff, now));
    }

    /// Where rows of a view come from.
    pub fn origins(&mut self, id: ViewId, rows: Vec<(MountId, Origin)>) {
        self.change(id, |card| card.origins.extend(rows.into_iter().map(|(row, origin)| (row, Arc::new(origin)))));
    }

    /// What is marked has been seen: the next call may mark something else.
    pub fn unmark(&mut self) {
        self.age(f64::INFINITY);
    }

    /// The last process of a view has gone.
    pub fn gone(&mut self, id: ViewId, now: f64) {
        self.change(id, |card| card.mark = Mark::Gone(now));
    }

    fn change(&mut self, id: ViewId, change: impl FnOnce(&mut Card)) {
        self.revision += 1;
        if let Some(card) = self.cards.iter_mut().find(|card| card.view.id == id) {
            card.revision = self.revision;
            change(card);
        }
    }

    /// Whether [`Tables::age`] would change anything.
    pub fn has_aged(&self, now: f64) -> bool {
        let aged = |mark: Mark| mark.age(now) != Some(mark);
        self.cards.iter().any(|card| aged(card.mark) || card.rows.iter().any(|row| aged(row.mark)))
    }

    /// Lets marks fade, and what has gone leave.
    pub fn age(&mut self, now: f64) {
        self.revision += 1;
        let revision = self.revision;
        self.cards.retain_mut(|card| {
            if card.rows.iter().any(|row| row.mark.age(now) != Some(row.mark)) {
                card.revision = revision;
            }
            card.rows.retain_mut(|row| row.mark.age(now).inspect(|mark| row.mark = *mark).is_some());
            card.mark.age(now).inspect(|mark| card.mark = *mark).is_some()
        });
    }
}
