//! Fetches the lessons and the taught code, and the lessons again when the server says that an author has saved one.

use leptos::prelude::*;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{EventSource, MessageEvent, Response};

use crate::model::{Loaded, Model};

/// Fetches both into the model.
pub fn fetch(model: Model) {
    fetch_lessons(model);
    spawn_local(async move { model.sources.set(get("/api/code").await) });
}

/// Keeps the lessons as they are at the server, as long as the page lives. Where they cannot change there (`serve` without
/// `--lessons`) it says so, and the browser does not ask again.
pub fn follow(model: Model) {
    let Ok(changes) = EventSource::new("/api/lessons/changes") else { return };
    let hear = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let fault = event.data().as_string().and_then(|json| js_sys::JSON::parse(&json).ok()?.as_string());
        model.fault.set(fault.filter(|fault| !fault.is_empty()));
        fetch_lessons(model);
    });
    changes.set_onmessage(Some(hear.as_ref().unchecked_ref()));
    // The browser holds the connection, and with it the listener, as long as the page lives.
    hear.forget();
}

fn fetch_lessons(model: Model) {
    spawn_local(async move {
        let lessons = get("/api/lessons").await;
        // Old ones are better than none, and the same ones again are no news: what is unfolded stays so.
        let is_news = |known: &_| lessons != *known && (lessons != Loaded::Failed || *known == Loaded::Waiting);
        if model.lessons.with_untracked(is_news) {
            model.lessons.set(lessons);
        }
    });
}

async fn get<T: DeserializeOwned>(path: &str) -> Loaded<T> {
    match json(path).await.ok().and_then(|value| serde_wasm_bindgen::from_value(value).ok()) {
        Some(value) => Loaded::Here(value),
        None => Loaded::Failed,
    }
}

async fn json(path: &str) -> Result<JsValue, JsValue> {
    let response: Response = JsFuture::from(window().fetch_with_str(path)).await?.unchecked_into();
    JsFuture::from(response.json()?).await
}
