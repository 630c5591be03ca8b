//! What this browser remembers for the learner: small choices of looks. Where storage is forbidden it forgets.

use leptos::prelude::window;

/// What is stored under a key.
pub fn get(key: &str) -> Option<String> {
    window().local_storage().ok()??.get_item(key).ok()?
}

/// Stores a value, or with `None` forgets it.
pub fn set(key: &str, value: Option<&str>) {
    if let Ok(Some(storage)) = window().local_storage() {
        // A full or forbidden store costs the learner only the memory of a choice.
        let _ = match value {
            Some(value) => storage.set_item(key, value),
            None => storage.remove_item(key),
        };
    }
}
