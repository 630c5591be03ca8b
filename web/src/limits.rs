//! What the machine may use and uses, and the warning before it ends by itself.

use leptos::prelude::*;
use shared::protocol::{Limits as Allowed, Used};

use crate::{Page, words};

/// A short figure that explains itself at a second look, or the warning in its place.
#[component]
pub fn Limits(page: Page) -> impl IntoView {
    let memory = move || {
        let (allowed, used) = page.model.limits.get()?;
        Some(format!("memory {} of {} MiB", used.memory >> 20, allowed.memory >> 20))
    };
    let all = move || page.model.limits.get().map(|(allowed, used)| in_full(&allowed, &used));
    let warning = move || {
        let (end, cause) = page.model.end.get()?;
        let left = words::time_left((end - page.model.now.get()) / 1000.0);
        Some(format!("This machine ends in {left}: {}", words::end_cause(cause)))
    };
    view! {
        <Show when=move || page.model.end.with(Option::is_none)>
            <span class="limits" title=all aria-description=all>{memory}</span>
        </Show>
        <Show when=move || page.model.end.with(Option::is_some)>
            <span class="limits warning" role="alert">{warning}</span>
        </Show>
    }
}

fn in_full(allowed: &Allowed, used: &Used) -> String {
    let mut text = format!(
        "memory {} of {} MiB · disk {} of {} MiB (part of the memory) · {} of {} processes · {} % of a processor · \
         {} terminals · ends when unused for {}",
        used.memory >> 20,
        allowed.memory >> 20,
        used.disk >> 20,
        allowed.disk >> 20,
        used.processes,
        allowed.processes,
        allowed.cpu_percent,
        allowed.terminals,
        words::time_left(allowed.idle_seconds as f64),
    );
    if let Some(life) = allowed.life_seconds {
        text += &format!(" · ends after {} in any case", words::time_left(life as f64));
    }
    text
}
