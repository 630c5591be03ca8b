//! The page's few pictures, as SVG in the colour of the text around them. Names for them are the buttons' own.

use leptos::prelude::*;

/// A picture.
#[derive(Clone, Copy)]
pub struct Icon(&'static str);

impl Icon {
    /// Run this.
    pub const RUN: Icon = Icon(r#"<path d="M5 3.2v9.6L12.6 8z" fill="currentColor" stroke="none"/>"#);
    /// Copy this.
    pub const COPY: Icon = Icon(
        r#"<rect x="5.5" y="5.5" width="8" height="8" rx="1.5"/><path d="M10.5 3v-.5a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1H4" transform="translate(0 1)"/>"#,
    );
    /// One more.
    pub const ADD: Icon = Icon(r#"<path d="M8 3.2v9.6M3.2 8h9.6"/>"#);
    /// Away with it.
    pub const CLOSE: Icon = Icon(r#"<path d="m4.5 4.5 7 7M11.5 4.5l-7 7"/>"#);
    /// Done.
    pub const DONE: Icon = Icon(r#"<path d="m3 8.5 3.2 3.2L13 4.8"/>"#);
    /// Light or dark.
    pub const THEME: Icon =
        Icon(r#"<circle cx="8" cy="8" r="5.7"/><path d="M8 2.3a5.7 5.7 0 0 1 0 11.4z" fill="currentColor"/>"#);
    /// One after the other.
    pub const TABS: Icon = Icon(r#"<rect x="2" y="3" width="12" height="10" rx="1.5"/><path d="M2 6.5h12M7 3v3.5"/>"#);
    /// Side by side.
    pub const SPLIT: Icon = Icon(r#"<rect x="2" y="3" width="12" height="10" rx="1.5"/><path d="M8 3v10"/>"#);
    /// Start over.
    pub const RESET: Icon = Icon(r#"<path d="M3.2 8a4.8 4.8 0 1 0 1.5-3.5L3 6.1"/><path d="M3 2.6v3.5h3.5"/>"#);
    /// More below.
    pub const DOWN: Icon = Icon(r#"<path d="M4 6.5 8 10.5l4-4"/>"#);
    /// This stops what runs.
    pub const STOP: Icon =
        Icon(r#"<rect x="4" y="4" width="8" height="8" rx="1.5" fill="currentColor" stroke="none"/>"#);
    /// There is none.
    pub const NONE: Icon = Icon(r#"<circle cx="8" cy="8" r="5.7"/><path d="m4 4 8 8"/>"#);
    /// In a while.
    pub const WAIT: Icon = Icon(r#"<circle cx="8" cy="8" r="5.7"/><path d="M8 4.7V8l2.2 1.7"/>"#);
    /// The end of it.
    pub const POWER: Icon = Icon(r#"<path d="M8 2.5v5M5 4.3a4.9 4.9 0 1 0 6 0"/>"#);
    /// All of it.
    pub const WHOLE: Icon = Icon(r#"<path d="M4 2.5h5l3 3v8H4z"/><path d="M6.5 8h3M6.5 10.5h3"/>"#);
    /// Keys.
    pub const KEYS: Icon = Icon(
        r#"<rect x="1.5" y="4" width="13" height="8.5" rx="1.5"/><path d="M4.5 7h.01M8 7h.01M11.5 7h.01M5 9.8h6"/>"#,
    );
    /// Hold on.
    pub const PAUSE: Icon = Icon(r#"<path d="M5.5 3.5v9M10.5 3.5v9" stroke-width="2"/>"#);
    /// Something to know.
    pub const WARNING: Icon = Icon(r#"<path d="M8 2.5 14.5 13.5h-13z"/><path d="M8 6.8v3M8 11.8h.01"/>"#);
    /// It goes along.
    pub const FOLLOW: Icon = Icon(
        r#"<circle cx="8" cy="8" r="2.2"/><path d="M8 1.5v2.3M8 12.2v2.3M1.5 8h2.3M12.2 8h2.3"/><circle cx="8" cy="8" r="4.7"/>"#,
    );
    /// Back.
    pub const PREVIOUS: Icon = Icon(r#"<path d="M10 3.5 5.5 8l4.5 4.5"/>"#);
    /// Onwards.
    pub const NEXT: Icon = Icon(r#"<path d="M6 3.5 10.5 8 6 12.5"/>"#);

    /// Shows it.
    pub fn show(self) -> impl IntoView {
        let picture = format!(
            r#"<svg viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round">{}</svg>"#,
            self.0
        );
        view! { <span class="icon" aria-hidden="true" inner_html=picture></span> }
    }
}

/// The sign of a mount namespace: its colour, and its number within, so that colour is never the only sign.
#[component]
pub fn NamespaceSign(#[prop(into)] ordinal: Signal<Option<u32>>) -> impl IntoView {
    // The number is shown by the style sheet, so that it does not become part of the name of what it stands on.
    let number = move || ordinal.get().map(|ordinal| ordinal.to_string());
    view! { <span class="sign" aria-hidden="true" data-hue=move || hue(ordinal.get()) data-number=number></span> }
}

/// Which of the style sheet's eight hues a mount namespace has.
pub fn hue(ordinal: Option<u32>) -> Option<String> {
    ordinal.map(|ordinal| (ordinal % 8).to_string())
}
