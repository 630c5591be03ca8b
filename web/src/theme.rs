//! Light and dark: as the system says, until the learner switches. `web/js/theme.js` makes the first choice.

use leptos::prelude::*;

const KEY: &str = "newroot-theme";

/// The theme in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Dark text on light paper.
    Light,
    /// The other way round.
    Dark,
}

impl Theme {
    /// As the root element's `data-theme` has it.
    pub fn name(self) -> &'static str {
        match self {
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// The other one.
    pub fn other(self) -> Theme {
        match self {
            Theme::Light => Theme::Dark,
            Theme::Dark => Theme::Light,
        }
    }

    fn of_system() -> Theme {
        let query = window().match_media("(prefers-color-scheme: dark)").ok().flatten();
        if query.is_some_and(|query| query.matches()) { Theme::Dark } else { Theme::Light }
    }

    fn of_page() -> Theme {
        let theme = document().document_element().and_then(|root| root.get_attribute("data-theme"));
        if theme.as_deref() == Some("dark") { Theme::Dark } else { Theme::Light }
    }
}

/// A signal of the theme that the page's root element follows, and that follows the system unless the learner chose.
pub fn signal() -> RwSignal<Theme> {
    let theme = RwSignal::new(Theme::of_page());
    Effect::new(move |_| {
        if let Some(root) = document().document_element() {
            // Setting an attribute of a valid name cannot fail.
            let _ = root.set_attribute("data-theme", theme.get().name());
        }
    });
    let follow = wasm_bindgen::closure::Closure::<dyn Fn()>::new(move || {
        if crate::storage::get(KEY).is_none() {
            theme.set(Theme::of_system());
        }
    });
    if let Ok(Some(query)) = window().match_media("(prefers-color-scheme: dark)") {
        use wasm_bindgen::JsCast;
        query.set_onchange(Some(follow.as_ref().unchecked_ref()));
        // The browser holds the query, and with it the listener, as long as the page lives.
        std::mem::forget(query);
    }
    follow.forget();
    theme
}

/// Switches to the other theme, and remembers it as the learner's choice; one that agrees with the system is none, and
/// follows it again.
pub fn turn(page: crate::Page) {
    let theme = page.theme.get_untracked().other();
    page.theme.set(theme);
    crate::storage::set(KEY, (theme != Theme::of_system()).then(|| theme.name()));
}
