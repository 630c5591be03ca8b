//! The address of a step within the page: `#/LESSON-SLUG/STEP-SLUG`, so that a reload or a shared link opens it.

use leptos::prelude::window;

use crate::storage;

const KEY: &str = "newroot-place";

/// The lesson of whoever comes for the first time: the chapter that the playground is made for. Those before it are there
/// to go back to.
const START: &str = "04-mount-namespace-and-root-directory";

/// Which step of which lesson. The first one is meant where there is none of that name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The lesson's slug.
    pub lesson: String,
    /// The step's slug.
    pub step: String,
}

impl Address {
    /// What the browser's address names; where it names nothing, the step that was open last in this browser.
    pub fn current() -> Address {
        let hash = window().location().hash().unwrap_or_default();
        let named = Some(hash.trim_start_matches(['#', '/']).to_owned()).filter(|named| !named.is_empty());
        let named = named.or_else(|| storage::get(KEY)).unwrap_or_else(|| START.to_owned());
        let (lesson, step) = named.split_once('/').unwrap_or((&named, ""));
        Address { lesson: lesson.to_owned(), step: step.to_owned() }
    }

    /// Goes to a step, as a link to it would.
    pub fn go(lesson: &str, step: &str) {
        // A hash can be set anywhere.
        let _ = window().location().set_hash(&Address::href(lesson, step));
    }

    /// A link to a step.
    pub fn href(lesson: &str, step: &str) -> String {
        format!("#/{lesson}/{step}")
    }

    /// Has the browser remember this step as the one that was open last.
    pub fn remember(lesson: &str, step: &str) {
        storage::set(KEY, Some(&format!("{lesson}/{step}")));
    }
}
