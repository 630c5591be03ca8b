//! The pages that are open on a lab: which of them owns the terminals, and for whom the terminals wait.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use shared::protocol::{Offset, TerminalId};

use super::session::Page;

/// How long terminals wait for the last page to come back. Long enough for a network that drops, a reload, a laptop
/// carried to the next room; then a long output runs to its end, for whoever comes back later expects that.
pub const AWAY: Duration = Duration::from_secs(60);

/// All pages of a lab.
#[derive(Default)]
pub struct Pages {
    /// The owner is the last one that has greeted.
    open: RefCell<Vec<Rc<Page>>>,
    /// The page that was the owner when the last one went, and when that was.
    away: RefCell<Option<(Rc<Page>, Instant)>>,
}

impl Pages {
    /// A page has come. It owns nothing before it has greeted.
    pub fn come(&self, page: Rc<Page>) {
        self.open.borrow_mut().insert(0, page);
    }

    /// A page has greeted, or was typed in: it is the owner now.
    pub fn take_over(&self, page: &Page) {
        let mut open = self.open.borrow_mut();
        if let Some(place) = open.iter().position(|other| is_same(other, page)) {
            let page = open.remove(place);
            open.push(page);
            self.away.replace(None);
        }
    }

    /// A page has gone.
    pub fn leave(&self, page: &Page, now: Instant) {
        let mut open = self.open.borrow_mut();
        let Some(place) = open.iter().position(|other| is_same(other, page)) else { return };
        let page = open.remove(place);
        if page.has_greeted() && !open.iter().any(|other| other.has_greeted()) {
            self.away.replace(Some((page, now)));
        }
    }

    /// Whether a page owns the terminals.
    pub fn is_owner(&self, page: &Page) -> bool {
        self.owner().is_some_and(|owner| is_same(&owner, page))
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Whether a page is open that has greeted. A connection that says nothing is nobody.
    pub fn are_greeted(&self) -> bool {
        self.owner().is_some()
    }

    /// Whether a terminal whose output has come to `end` may go on.
    pub fn has_room(&self, terminal: TerminalId, end: Offset, now: Instant) -> bool {
        match (self.owner(), &*self.away.borrow()) {
            (Some(owner), _) => owner.has_room(terminal, end),
            (None, Some((page, since))) if now.duration_since(*since) < AWAY => page.has_room(terminal, end),
            (None, _) => true,
        }
    }

    /// Whether the last page has been gone for so long that nobody waits for it any more.
    pub fn are_gone(&self, now: Instant) -> bool {
        self.owner().is_none()
            && self.away.borrow().as_ref().is_none_or(|(_, since)| now.duration_since(*since) >= AWAY)
    }

    fn owner(&self) -> Option<Rc<Page>> {
        self.open.borrow().iter().rfind(|page| page.has_greeted()).cloned()
    }
}

fn is_same(one: &Rc<Page>, other: &Page) -> bool {
    std::ptr::eq(Rc::as_ptr(one), other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::protocol::WINDOW;

    const TERMINAL: TerminalId = TerminalId(0);

    fn greeted(pages: &Pages, acknowledged: u64) -> Rc<Page> {
        let page = Rc::new(Page::standing_at(TERMINAL, Offset(acknowledged)));
        pages.come(page.clone());
        pages.take_over(&page);
        page
    }

    #[test]
    fn the_last_to_greet_or_type_is_the_owner_and_a_silent_one_never() {
        let (pages, now) = (Pages::default(), Instant::now());
        let (one, two) = (greeted(&pages, 0), greeted(&pages, 1 << 20));
        pages.come(Rc::new(Page::default()));
        assert!(pages.is_owner(&two) && pages.has_room(TERMINAL, Offset(1 << 20), now));
        pages.take_over(&one);
        assert!(pages.is_owner(&one) && !pages.is_owner(&two), "typed in");
        assert!(!pages.has_room(TERMINAL, Offset(1 << 20), now), "the owner is waited for");
        pages.leave(&one, now);
        assert!(pages.is_owner(&two));
    }

    #[test]
    fn terminals_wait_a_minute_for_the_last_page_and_then_run_on() {
        let (pages, now) = (Pages::default(), Instant::now());
        assert!(pages.has_room(TERMINAL, Offset(1 << 30), now), "nobody has ever come");
        let page = greeted(&pages, 0);
        pages.leave(&page, now);
        assert!(pages.has_room(TERMINAL, Offset(WINDOW - 1), now));
        assert!(!pages.has_room(TERMINAL, Offset(WINDOW), now));
        pages.come(Rc::new(Page::default()));
        assert!(!pages.has_room(TERMINAL, Offset(WINDOW), now), "somebody who has not greeted is nobody yet");
        assert!(pages.has_room(TERMINAL, Offset(WINDOW), now + AWAY));
        assert!(!pages.are_gone(now) && pages.are_gone(now + AWAY));
        let _back = greeted(&pages, WINDOW);
        assert!(!pages.are_gone(now + AWAY));
        assert!(pages.has_room(TERMINAL, Offset(WINDOW), now));
    }
}
