//! What the learner has chosen to see of the code: the language, how much of it, and whether it follows the runtime.

use leptos::prelude::*;
use shared::lesson::Language;
use shared::trace::{CallId, CodeLine};

use crate::storage;

const LANGUAGE: &str = "newroot-language";
const FOLLOW: &str = "newroot-follow";

/// The languages in the order of their buttons.
pub const LANGUAGES: [(Language, &str); 3] =
    [(Language::Rust, "Rust"), (Language::Go, "Go"), (Language::Shell, "Shell")];

/// A part of the code that the learner has looked up.
#[derive(Clone, Debug, PartialEq)]
pub enum LookedUp {
    /// A step, by its name.
    Step(String),
    /// A line, which a call or a row names.
    Line(CodeLine),
}

/// What the learner has chosen to see of the code.
#[derive(Clone, Copy)]
pub struct Choice {
    /// The language.
    pub language: RwSignal<Language>,
    /// The whole file, not only the step.
    pub whole: RwSignal<bool>,
    /// Whether the code goes along with the runtime, call by call.
    pub follow: RwSignal<bool>,
    /// What is looked up, which holds until the lesson goes on.
    pub looked_up: RwSignal<Option<LookedUp>>,
    /// The call up to which the learner has seen enough of the runtime.
    pub left: RwSignal<Option<CallId>>,
}

impl Choice {
    /// As this browser remembers it.
    pub fn new() -> Choice {
        let name = storage::get(LANGUAGE);
        let language = LANGUAGES.iter().find(|(_, other)| Some(*other) == name.as_deref());
        Choice {
            language: RwSignal::new(language.map_or(Language::Rust, |(language, _)| *language)),
            whole: RwSignal::new(false),
            follow: RwSignal::new(storage::get(FOLLOW).is_none()),
            looked_up: RwSignal::new(None),
            left: RwSignal::new(None),
        }
    }

    /// The next language.
    pub fn turn(self) {
        let place = LANGUAGES.iter().position(|(language, _)| *language == self.language.get_untracked()).unwrap_or(0);
        self.choose(LANGUAGES[(place + 1) % LANGUAGES.len()].0);
    }

    /// The whole file, or the step again.
    pub fn toggle_whole(self) {
        self.whole.update(|whole| *whole = !*whole);
    }

    /// Follows the runtime, or not.
    pub fn toggle_follow(self) {
        self.follow.update(|follow| *follow = !*follow);
        let follow = self.follow.get_untracked();
        storage::set(FOLLOW, (!follow).then_some("off"));
        if follow {
            self.looked_up.set(None);
            self.left.set(None);
        }
    }

    /// Shows a line that a call or a row names.
    pub fn look_up(self, line: &CodeLine) {
        self.looked_up.set(Some(LookedUp::Line(line.clone())));
    }

    /// This language, from now on.
    pub fn choose(self, language: Language) {
        self.language.set(language);
        let name = LANGUAGES.iter().find(|(other, _)| *other == language).map(|(_, name)| *name);
        storage::set(LANGUAGE, name.filter(|_| language != Language::Rust));
    }
}
