//! A page of another build than its lab reloads itself, once, and says so.

use leptos::prelude::window;

const KEY: &str = "newroot-reloaded-for";

/// How the page stands to its lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// They are of one build.
    Same,
    /// They are, since the page was reloaded for it.
    Renewed,
    /// They are not, and the page is already reloading.
    Reloading,
    /// They are not, and a reload did not help: the lab was started before the server was upgraded, or a cache goes on
    /// serving an old page. To try again would be to reload for ever.
    Other,
}

impl Build {
    /// What is to be told to the learner.
    pub fn words(self) -> Option<&'static str> {
        match self {
            Build::Same | Build::Reloading => None,
            Build::Renewed => Some("Newroot was upgraded, so this page has reloaded itself."),
            Build::Other => Some("Your machine was started by another version of Newroot than that of this page."),
        }
    }
}

/// Compares this page with the build that a lab says it is of, and reloads the page where that may help.
pub fn compare(lab: &str) -> Build {
    // Somebody who works on Newroot builds its parts one by one.
    if [lab, shared::BUILD].contains(&"dev") {
        return Build::Same;
    }
    // Where storage is forbidden nothing would keep the page from reloading for ever.
    let Ok(Some(storage)) = window().session_storage() else { return Build::Same };
    let reloaded = storage.get_item(KEY).is_ok_and(|build| build.as_deref() == Some(lab));
    if lab == shared::BUILD {
        // Forgotten, so that it is told once.
        return if reloaded && storage.remove_item(KEY).is_ok() { Build::Renewed } else { Build::Same };
    }
    if reloaded || storage.set_item(KEY, lab).is_err() || window().location().reload().is_err() {
        return Build::Other;
    }
    Build::Reloading
}
