//! Search in one terminal's lines. What it finds is marked in the terminal, and counted for the pane to show.

use std::cell::RefCell;
use std::rc::Rc;

use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use xterm_js_sys::{Decorations, SearchAddon, SearchOptions, SearchResults, Terminal, search as load};

use super::looks::property;

/// What is searched for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Nothing is found by nothing.
    pub text: String,
    /// Whether `a` is another letter than `A`.
    pub case: bool,
}

/// To which match a search goes on. A terminal is searched upwards: what is looked for has just been seen to scroll by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The newest.
    Newest,
    /// The one above.
    Up,
    /// The one below.
    Down,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The place of the match of the moment, from 1 and from the newest; `None` where there are too many to say.
    pub place: Option<u32>,
    /// How many there are; the addon stops counting at [`MANY`].
    pub count: u32,
}

/// So many matches are marked and counted, and no more.
pub const MANY: u32 = 1000;

type OnResults = Closure<dyn Fn(SearchResults)>;

/// The search in one terminal, which comes over the wire when it is first asked for.
#[derive(Default)]
pub struct Search {
    addon: RefCell<Option<SearchAddon>>,
    /// xterm calls it as long as the addon lives.
    results: RefCell<Option<OnResults>>,
    /// While the addon is on its way: what was asked for last.
    wanted: RefCell<Option<(Query, Way)>>,
}

impl Search {
    /// Goes to a match of the query, and says in `found` what there is.
    pub fn find(self: &Rc<Search>, xterm: &Terminal, query: Query, way: Way, found: RwSignal<Found>) {
        if let Some(addon) = self.addon.borrow().as_ref() {
            return find(xterm, addon, &query, way);
        }
        if self.wanted.replace(Some((query, way))).is_some() {
            return;
        }
        let (search, xterm) = (self.clone(), xterm.clone());
        spawn_local(async move {
            let loaded = JsFuture::from(load()).await;
            let wanted = search.wanted.take();
            // Without the addon nothing is found; the next key tries again.
            let (Ok(addon), Some((query, way))) = (loaded, wanted) else { return };
            search.take(&xterm, addon.unchecked_into(), found);
            if let Some(addon) = search.addon.borrow().as_ref() {
                find(&xterm, addon, &query, way);
            }
        });
    }

    /// Takes the marks away.
    pub fn end(&self) {
        if let Some(addon) = self.addon.borrow().as_ref() {
            addon.clear_decorations();
        }
    }

    fn take(&self, xterm: &Terminal, addon: SearchAddon, found: RwSignal<Found>) {
        if xterm.load_addon(&addon).is_err() {
            return;
        }
        let results = Closure::<dyn Fn(SearchResults)>::new(move |results: SearchResults| {
            let (index, count) = (results.index(), results.count());
            let place = u32::try_from(index).ok().map(|index| count.saturating_sub(index));
            found.set(Found { place, count });
        });
        addon.on_did_change_results(results.as_ref().unchecked_ref());
        self.results.replace(Some(results));
        self.addon.replace(Some(addon));
    }
}

fn find(xterm: &Terminal, addon: &SearchAddon, query: &Query, way: Way) {
    let decorations = Decorations::empty();
    decorations.set_background(&property("--terminal-match"));
    decorations.set_active_background(&property("--terminal-match-now"));
    decorations.set_active_border(&property("--terminal-foreground"));
    decorations.set_ruler(&property("--terminal-match"));
    decorations.set_active_ruler(&property("--terminal-match-now"));
    let options = SearchOptions::empty();
    options.set_case_sensitive(query.case);
    options.set_decorations(&decorations);
    if way == Way::Newest {
        // A search goes on from what is selected, and keeps the marks of the same words though upper and lower case have
        // begun to matter.
        xterm.clear_selection();
        addon.clear_decorations();
    }
    match way {
        Way::Newest | Way::Up => addon.find_previous(&query.text, &options),
        Way::Down => addon.find_next(&query.text, &options),
    };
}
