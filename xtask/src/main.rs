//! `cargo xtask VERB`.

mod web;

fn main() -> anyhow::Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    let build_id = std::env::args().nth(2).unwrap_or_else(|| "dev".into());
    web::build(root, &build_id)
}
