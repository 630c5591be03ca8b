//! A call in the list: who made it, what it asked for, what came of it; opened, all of it.

use std::sync::Arc;

use leptos::prelude::*;
use shared::plain::plain;
use shared::trace::{Call, CallId};

use super::details::Details;
use crate::Page;
use crate::icons::{Icon, NamespaceSign, hue};
use crate::words::calls as words;

/// An entry, for as long as there is a call of this number.
#[component]
pub fn Entry(page: Page, id: CallId, shown: Memo<Vec<Arc<Call>>>) -> impl IntoView {
    let call = Memo::new(move |_| {
        let of_id = |shown: &Vec<Arc<Call>>| {
            let place = shown.binary_search_by_key(&id, |call| call.id).ok()?;
            shown.get(place).cloned()
        };
        shown.with(of_id)
    });
    let tell = move |tell: fn(&Call) -> String| move || call.with(|call| call.as_deref().map(tell).unwrap_or_default());
    let ordinal = Signal::derive(move || call.with(|call| call.as_ref().and_then(|call| call.ordinal)));
    let is_open = move || page.model.opened.get() == Some(id);
    let toggle = move |_| page.model.opened.update(|opened| *opened = (*opened != Some(id)).then_some(id));
    let warnings = move || call.with(|call| call.as_ref().map(|call| call.warnings.clone()).unwrap_or_default());
    let arguments = |call: &Call| words::call(call)[call.name.len()..].to_owned();
    view! {
        <li
            class="call"
            data-call=id.0.to_string()
            data-name=tell(|call| call.name.clone())
            data-state=tell(|call| words::state_name(&call.state).to_owned())
            data-hue=move || hue(ordinal.get())
        >
            <button class="summary" tabindex="-1" aria-expanded=move || is_open().to_string() on:click=toggle>
                <NamespaceSign ordinal/>
                <span class="time">{tell(|call| words::time(call.at))}</span>
                <span class="who">{tell(|call| words::who(&call.process))}</span>
                <code title=tell(words::call)><b>{tell(|call| call.name.clone())}</b>{tell(arguments)}</code>
                <span class="result">{tell(|call| words::result(&call.state))}</span>
            </button>
            <p class="reason" hidden=move || tell(|call| words::reason(&call.state))().is_empty()>
                {tell(|call| words::reason(&call.state))}
            </p>
            <For each=warnings key=String::clone let:warning>
                <p class="warning">{Icon::WARNING.show()} <span>{plain(&warning)}</span></p>
            </For>
            <Show when=is_open><Details page call/></Show>
        </li>
    }
}
