//! Two mount tables side by side, as the chapter compares the output of two `mount` commands: what is in one only, and
//! what differs.

use std::sync::Arc;

use leptos::prelude::*;
use shared::mount::Mount;
use shared::plain::plain;
use shared::protocol::ViewId;
use shared::tables::{self, Field};

use super::{Looks, lines::MOST_SHOWN};
use crate::tables::{Card, Tables};
use crate::{Page, words};

/// A mount of one table, of the other, or of both.
#[derive(Clone, Debug, PartialEq)]
struct Both {
    left: Option<Arc<Mount>>,
    right: Option<Arc<Mount>>,
    differs: Vec<Field>,
}

impl Both {
    fn is_same(&self) -> bool {
        self.left.is_some() && self.right.is_some() && self.differs.is_empty()
    }

    /// As the attribute that style sheet and tests read.
    fn state(&self) -> &'static str {
        match (&self.left, &self.right) {
            (Some(_), None) => "left",
            (None, _) => "right",
            _ if self.differs.is_empty() => "same",
            _ => "differs",
        }
    }
}

/// The comparison, in place of the cards.
#[component]
pub fn Compare(page: Page, looks: Looks, ids: Memo<Vec<ViewId>>) -> impl IntoView {
    let (left, right) = (RwSignal::new(None), RwSignal::new(None));
    // What was chosen, as long as it is there; else the host, and the newest of the others.
    let of = |chosen: RwSignal<Option<ViewId>>, or: fn(&[ViewId]) -> Option<ViewId>| {
        Memo::new(move |_| {
            let chosen = chosen.get();
            ids.with(|ids| chosen.filter(|id| ids.contains(id)).or_else(|| or(ids)))
        })
    };
    let (left_is, right_is) = (of(left, |ids| ids.first().copied()), of(right, |ids| ids.iter().max().copied()));
    let pairs = Memo::new(move |_| {
        looks.pace.track();
        let (left, right) = (left_is.get(), right_is.get());
        let compared = |tables: &Tables| {
            let rows = |id: Option<ViewId>| id.and_then(|id| tables.card(id)).map(mounts).unwrap_or_default();
            compare(&rows(left), &rows(right))
        };
        looks.pace.spend(|| page.model.tables.with_untracked(compared))
    });
    let name = move |id: Memo<Option<ViewId>>| {
        Memo::new(move |_| {
            looks.pace.track();
            let named = |id| page.model.tables.with_untracked(|tables| tables.card(id).map(words::mounts::card));
            id.get().and_then(named).unwrap_or_default()
        })
    };
    let (left_name, right_name) = (name(left_is), name(right_is));
    let same_too = RwSignal::new(false);
    let shown = Memo::new(move |_| {
        let filter = looks.filter.with(|filter| filter.trim().to_lowercase());
        let passes = |both: &&Both| {
            (same_too.get() || !both.is_same())
                && [&both.left, &both.right].into_iter().flatten().any(|mount| words::mounts::matches(mount, &filter))
        };
        pairs.with(|pairs| pairs.iter().filter(passes).take(MOST_SHOWN).cloned().collect::<Vec<_>>())
    });
    let summary = move || pairs.with(|pairs| summary(pairs, &left_name.get(), &right_name.get()));
    let choose = move |chosen: RwSignal<Option<ViewId>>, is: Memo<Option<ViewId>>, label: &'static str| {
        let options = move || {
            looks.pace.track();
            let cards = page.model.tables.with_untracked(|tables| {
                tables.cards().iter().map(|card| (card.view.id, words::mounts::card(card))).collect::<Vec<_>>()
            });
            let option = |(id, name): (ViewId, String)| {
                view! { <option value=id.0.to_string() selected=move || is.get() == Some(id)>{name}</option> }
            };
            cards.into_iter().map(option).collect_view()
        };
        let pick = move |event| chosen.set(event_target_value(&event).parse().ok().map(ViewId));
        view! { <select aria-label=label on:change=pick>{options}</select> }
    };
    view! {
        <div class="compare">
            <div class="which">
                {choose(left, left_is, "The table on the left")}
                <span>"and"</span>
                {choose(right, right_is, "The table on the right")}
                <span class="summary" role="status">{summary}</span>
                <label><input type="checkbox" prop:checked=same_too on:change=move |event| same_too.set(event_target_checked(&event))/>
                    "what is the same too"</label>
            </div>
            <div class="table" role="group" tabindex="0" aria-label="Two mount tables compared">
                <table>
                    <thead>
                        <tr>
                            <th scope="col">"Mount point"</th>
                            <th scope="col">"Comparison"</th>
                            <th scope="col">{left_name}</th>
                            <th scope="col">{right_name}</th>
                        </tr>
                    </thead>
                    <tbody>
                        {move || shown.get().into_iter().map(|both| row(both, left_name, right_name)).collect_view()}
                    </tbody>
                </table>
                <Show when=move || shown.with(Vec::is_empty)>
                    <p class="notice">"There is no difference to show."</p>
                </Show>
            </div>
        </div>
    }
}

fn row(both: Both, left_name: Memo<String>, right_name: Memo<String>) -> impl IntoView {
    let mount_point =
        both.left.as_ref().or(both.right.as_ref()).map(|mount| mount.mount_point.clone()).unwrap_or_default();
    let state = both.state();
    let differs: Vec<&str> = both.differs.iter().map(|field| words::mounts::field(*field)).collect();
    let word = move || match state {
        "left" => format!("only in {}", left_name.get()),
        "right" => format!("only in {}", right_name.get()),
        "same" => "the same".to_owned(),
        _ => format!("another {}", differs.join(", ")),
    };
    let side = |mount: &Option<Arc<Mount>>| match mount {
        None => "–".to_owned(),
        Some(mount) if both.differs.is_empty() => {
            format!("{} {} {}", mount.fs_type, words::propagation(&mount.propagation), plain(&mount.source))
        }
        Some(mount) => {
            let values: Vec<String> = both.differs.iter().map(|field| words::mounts::value(mount, *field)).collect();
            values.join("; ")
        }
    };
    let (left, right) = (side(&both.left), side(&both.right));
    view! {
        <tr data-mount-point=mount_point.clone() data-compared=state>
            <th scope="row">{plain(&mount_point)}</th>
            <td class="note">{word}</td>
            <td title=left.clone()>{left.clone()}</td>
            <td title=right.clone()>{right.clone()}</td>
        </tr>
    }
}

fn mounts(card: &Card) -> Vec<Arc<Mount>> {
    card.rows.iter().filter(|row| !row.mark.is_gone()).map(|row| row.mount.clone()).collect()
}

fn compare(left: &[Arc<Mount>], right: &[Arc<Mount>]) -> Vec<Both> {
    let both = |pair: tables::Pair| Both {
        left: pair.left.map(|place| left[place].clone()),
        right: pair.right.map(|place| right[place].clone()),
        differs: pair.differs,
    };
    tables::compare(left, right).into_iter().map(both).collect()
}

fn summary(pairs: &[Both], left: &str, right: &str) -> String {
    let count = |state: &str| pairs.iter().filter(|both| both.state() == state).count();
    let (only_left, only_right) = (count("left"), count("right"));
    format!(
        "{only_left} only in {left}, {only_right} only in {right}, {} differ, {} the same",
        count("differs"),
        count("same")
    )
}
