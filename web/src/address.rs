//! The address of a step within the page: `#/LESSON-SLUG/STEP-SLUG`, so that a reload or a shared link opens it.

/// Which step of which lesson; empty where the address does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The lesson's slug.
    pub lesson: String,
    /// The step's slug.
    pub step: String,
}

impl Address {
    /// What the browser's address names.
    pub fn current() -> Address {
        let hash = leptos::prelude::window().location().hash().unwrap_or_default();
        let mut parts = hash.trim_start_matches(['#', '/']).split('/').map(str::to_owned);
        Address { lesson: parts.next().unwrap_or_default(), step: parts.next().unwrap_or_default() }
    }

    /// Goes to a step, as a link to it would.
    pub fn go(lesson: &str, step: &str) {
        // A hash can be set anywhere.
        let _ = leptos::prelude::window().location().set_hash(&Address::href(lesson, step));
    }

    /// A link to a step.
    pub fn href(lesson: &str, step: &str) -> String {
        format!("#/{lesson}/{step}")
    }
}
