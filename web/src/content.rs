//! Fetches what does not change while the page is open: the lessons and the taught code.

use leptos::prelude::*;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::Response;

use crate::model::{Loaded, Model};

/// Fetches both into the model.
pub fn fetch(model: Model) {
    spawn_local(async move { model.lessons.set(get("/api/lessons").await) });
    spawn_local(async move { model.sources.set(get("/api/code").await) });
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
