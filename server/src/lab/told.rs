//! What one page has been told of the views, and what it lacks: the difference, in pieces so small that the terminals'
//! bytes find their way between them. Nothing is queued.

use std::collections::HashMap;
use std::rc::Rc;

use shared::mount::{Mount, TableDiff};
use shared::protocol::{MOST_ROWS_AT_ONCE, ToPage, View, ViewId};

use super::views::{LiveView, NotShown, Rows, Views};

/// What a page has been told.
#[derive(Default)]
pub struct Told {
    views: HashMap<ViewId, ToldView>,
    not_shown: NotShown,
}

struct ToldView {
    view: View,
    /// The table that the page has, or that it is getting.
    rows: Rows,
    /// How many of these rows were sent.
    sent: usize,
}

impl Told {
    /// What the page lacks, up to [`MOST_ROWS_AT_ONCE`] rows; from then on it is held to have it. What did not fit comes
    /// with the next call, so call until there is nothing more.
    pub fn catch_up(&mut self, views: &Views) -> Vec<ToPage> {
        let live = views.list();
        let mut messages = Vec::new();
        self.views.retain(|&view, _| {
            let stays = live.iter().any(|live| live.view.id == view);
            if !stays {
                messages.push(ToPage::ViewGone { view });
            }
            stays
        });
        let mut room = MOST_ROWS_AT_ONCE;
        for live in live {
            match self.views.get_mut(&live.view.id) {
                Some(told) => told.catch_up(live, &mut room, &mut messages),
                None if room > 0 => {
                    let (told, message) = ToldView::first(live, &mut room);
                    self.views.insert(live.view.id, told);
                    messages.push(message);
                }
                None => {}
            }
        }
        if self.not_shown != views.not_shown() {
            self.not_shown = views.not_shown();
            let NotShown { views, processes } = self.not_shown;
            messages.push(ToPage::NotShown { views, processes });
        }
        messages
    }
}

impl ToldView {
    fn first(live: &LiveView, room: &mut usize) -> (ToldView, ToPage) {
        let mut told = ToldView { view: live.view.clone(), rows: live.rows.clone(), sent: 0 };
        let rows = told.piece(room);
        let message = ToPage::View { view: live.view.clone(), rows: Some(rows), more: told.has_more() };
        (told, message)
    }

    fn catch_up(&mut self, live: &LiveView, room: &mut usize, messages: &mut Vec<ToPage>) {
        if self.view != live.view {
            self.view = live.view.clone();
            messages.push(ToPage::View { view: live.view.clone(), rows: None, more: false });
        }
        if self.has_more() {
            let rows = self.piece(room);
            if !rows.is_empty() {
                messages.push(ToPage::Rest { view: live.view.id, rows, more: self.has_more() });
            }
        } else if !Rc::ptr_eq(&self.rows, &live.rows) && *room > 0 {
            let diff = self.difference(live, *room);
            *room -= diff.set.len();
            messages.push(ToPage::Rows { view: live.view.id, diff });
        }
    }

    fn has_more(&self) -> bool {
        self.sent < self.rows.len()
    }

    /// The next rows of a table that is being sent for the first time.
    fn piece(&mut self, room: &mut usize) -> Vec<Mount> {
        let piece = &self.rows[self.sent..self.rows.len().min(self.sent + *room)];
        self.sent += piece.len();
        *room -= piece.len();
        piece.iter().map(|mount| Mount::clone(mount)).collect()
    }

    /// What leads from the page's table to the present one, or, where that is much, a part of the way.
    fn difference(&mut self, live: &LiveView, room: usize) -> TableDiff {
        let mut diff = TableDiff::between(&self.rows, &live.rows);
        self.rows = if diff.set.len() <= room {
            live.rows.clone()
        } else {
            diff.set.truncate(room);
            let mut rows = self.rows.to_vec();
            diff.apply(&mut rows);
            Rc::new(rows)
        };
        self.sent = self.rows.len();
        diff
    }
}
