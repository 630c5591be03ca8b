//! Builds the page into `target/dist/page`.

use std::path::Path;

use anyhow::{Result, bail};

/// Builds the page; its greeting to the lab carries `build_id`.
pub fn build(_root: &Path, _build_id: &str) -> Result<()> {
    bail!("the page cannot be built yet: its part of xtask (src/web.rs) is not merged")
}
