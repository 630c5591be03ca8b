//! Which terminals a lab has: their names, their number and their order. What one terminal does is in `terminal`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use shared::lesson::TERMINALS as LESSONS;
use shared::plain::is_odd;
use shared::protocol::{LONGEST_NAME, TerminalId};

use super::terminal::Terminal;

/// What a terminal is called whose opener has no name for it.
const NAMELESS: &str = "shell";

/// The terminals of a lab, in the order of their tabs.
pub struct Terminals {
    list: RefCell<Vec<Rc<Terminal>>>,
    next: Cell<u32>,
    most: usize,
}

impl Terminals {
    /// The terminals that the lessons name; there may be `most` in all, but never fewer than those.
    pub fn new(most: usize) -> Terminals {
        let terminals = Terminals { list: RefCell::default(), next: Cell::new(0), most: most.max(LESSONS.len()) };
        for name in LESSONS {
            terminals.add(Some(name));
        }
        terminals
    }

    /// All of them as they are now.
    pub fn all(&self) -> Vec<Rc<Terminal>> {
        self.list.borrow().clone()
    }

    /// The one of this number.
    pub fn get(&self, id: TerminalId) -> Option<Rc<Terminal>> {
        self.list.borrow().iter().find(|terminal| terminal.id == id).cloned()
    }

    /// Adds one. The places of the lessons' terminals are kept for them: a closed one can always be opened again.
    /// `None` where there are as many as there may be.
    pub fn add(&self, name: Option<&str>) -> Option<Rc<Terminal>> {
        let name = self.free_name(name.unwrap_or_default(), None);
        let own = self.list.borrow().iter().filter(|terminal| !is_lessons(&terminal.name.borrow())).count();
        if !is_lessons(&name) && own >= self.most - LESSONS.len() {
            return None;
        }
        let id = self.next.get();
        self.next.set(id + 1);
        let terminal = Rc::new(Terminal::new(TerminalId(id), name));
        self.list.borrow_mut().push(terminal.clone());
        Some(terminal)
    }

    /// Gives one another name. The lessons' terminals keep theirs, and their names are for nobody else.
    pub fn rename(&self, id: TerminalId, name: &str) {
        let Some(terminal) = self.get(id).filter(|terminal| !is_lessons(&terminal.name.borrow())) else { return };
        let name = self.free_name(name, Some(id));
        if !is_lessons(&name) {
            terminal.name.replace(name);
        }
    }

    /// Takes one away.
    pub fn remove(&self, id: TerminalId) -> Option<Rc<Terminal>> {
        let mut list = self.list.borrow_mut();
        let place = list.iter().position(|terminal| terminal.id == id)?;
        Some(list.remove(place))
    }

    /// The name, cleaned, with a number where another terminal than `own` has it.
    fn free_name(&self, wanted: &str, own: Option<TerminalId>) -> String {
        let clean = clean(wanted);
        let list = self.list.borrow();
        let is_free =
            |name: &str| list.iter().all(|terminal| Some(terminal.id) == own || *terminal.name.borrow() != name);
        let numbered = (2..).map(|number| format!("{clean} {number}"));
        std::iter::once(clean.clone()).chain(numbered).find(|name| is_free(name)).unwrap_or(clean)
    }
}

fn is_lessons(name: &str) -> bool {
    LESSONS.contains(&name)
}

/// A name as it may stand on a tab: one line, without characters that are not seen or that turn the text around.
fn clean(name: &str) -> String {
    let words: Vec<&str> = name.split_whitespace().collect();
    let short: String = words.join(" ").chars().filter(|c| !is_odd(*c)).take(LONGEST_NAME).collect();
    match short.trim() {
        "" => NAMELESS.to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(terminals: &Terminals) -> Vec<String> {
        terminals.all().iter().map(|terminal| terminal.name.borrow().clone()).collect()
    }

    #[test]
    fn names_are_clean_and_unlike_and_numbers_are_never_used_again() {
        let terminals = Terminals::new(8);
        terminals.add(None).expect("room");
        terminals.add(None).expect("room");
        terminals.add(Some(" a\tb\n\u{1b}[31m\u{202e} ")).expect("room");
        assert_eq!(names(&terminals), ["host", "container", "shell", "shell 2", "a b [31m"]);
        terminals.rename(TerminalId(3), "host");
        terminals.rename(TerminalId(0), "mine");
        assert_eq!(names(&terminals), ["host", "container", "shell", "host 2", "a b [31m"]);
        terminals.rename(TerminalId(3), "host 2");
        assert_eq!(names(&terminals)[3], "host 2", "its own name is free");
        terminals.rename(TerminalId(3), &"x".repeat(1000));
        assert_eq!(names(&terminals)[3].len(), LONGEST_NAME);
        terminals.remove(TerminalId(4)).expect("it was there");
        assert_eq!(terminals.add(Some("next")).expect("room").id, TerminalId(5));
    }

    #[test]
    fn a_lessons_terminal_can_always_be_opened_again() {
        let terminals = Terminals::new(4);
        terminals.remove(TerminalId(0)).expect("it was there");
        assert!(terminals.add(None).is_some() && terminals.add(None).is_some());
        assert!(terminals.add(None).is_none(), "the last place is the lesson's");
        terminals.rename(TerminalId(2), "host");
        assert_eq!(names(&terminals), ["container", "shell", "shell 2"], "so is its name");
        assert!(terminals.add(Some("host")).is_some());
        assert_eq!(terminals.all().len(), 4);
        assert!(terminals.add(Some("host")).is_none());
    }
}
