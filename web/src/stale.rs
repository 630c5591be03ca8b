//! A page older than its lab reloads itself, once.

use leptos::prelude::window;

const KEY: &str = "newroot-reloaded-for";

/// Whether the lab is of another build than this page. Then the page is already reloading, unless it did so before:
/// a cache that goes on serving the old page must not make it reload for ever.
pub fn is_stale(lab: &str) -> bool {
    if [lab, shared::BUILD].contains(&"dev") || lab == shared::BUILD {
        return false;
    }
    let Ok(Some(storage)) = window().session_storage() else { return false };
    if storage.get_item(KEY).is_ok_and(|build| build.as_deref() == Some(lab)) || storage.set_item(KEY, lab).is_err() {
        return false;
    }
    window().location().reload().is_ok()
}
