//! Builds the page into `target/dist/page/`: npm packages, the wasm with its JavaScript glue, and names that carry
//! a hash of the content, so that a browser may keep every asset for ever. Does no more than what has changed.

mod compile;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use wasm_bindgen_cli_support::Bindgen;

use crate::command;

/// What the page is made of besides the wasm and its glue, each after the files it names: the name it is referred
/// to by, and where it lies below `web/`.
const FILES: &[(&str, &str)] = &[
    ("mark.svg", "mark.svg"),
    ("sans.woff2", "node_modules/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2"),
    ("mono.woff2", "node_modules/@fontsource-variable/jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2"),
    ("xterm.css", "node_modules/@xterm/xterm/css/xterm.css"),
    ("tokens.css", "style/tokens.css"),
    ("page.css", "style/page.css"),
    ("panes.css", "style/panes.css"),
    ("course.css", "style/course.css"),
    ("calls.css", "style/calls.css"),
    ("theme.js", "js/theme.js"),
    ("xterm-csp.js", "js/xterm-csp.js"),
    // What the glue imports, by the names in `web/xterm-js-sys`.
    ("xterm.mjs", "node_modules/@xterm/xterm/lib/xterm.mjs"),
    ("addon-fit.mjs", "node_modules/@xterm/addon-fit/lib/addon-fit.mjs"),
    ("addon-unicode11.mjs", "node_modules/@xterm/addon-unicode11/lib/addon-unicode11.mjs"),
    ("addon-webgl.mjs", "node_modules/@xterm/addon-webgl/lib/addon-webgl.mjs"),
    ("addon-search.mjs", "node_modules/@xterm/addon-search/lib/addon-search.mjs"),
    ("addon-web-links.mjs", "node_modules/@xterm/addon-web-links/lib/addon-web-links.mjs"),
    ("addons.mjs", "xterm-js-sys/addons.mjs"),
    ("bounds.mjs", "xterm-js-sys/bounds.mjs"),
];

/// Builds the page of the repository at `root`. `build_id` becomes the page's `shared::BUILD`; the binary that
/// embeds the page must be built with the same one.
pub fn build(root: &Path, build_id: &str) -> anyhow::Result<()> {
    let web = root.join("web");
    install_packages(&web)?;
    let wasm = compile::compile(root, build_id)?;

    let stamp = root.join("target/web/page.stamp");
    let page = root.join("target/dist/page");
    let fingerprint = fingerprint(&web, &wasm)?;
    if page.join("index.html").exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == fingerprint) {
        return Ok(());
    }
    let assets = assemble(&web, &wasm, &root.join("target/web/glue"))?;
    // A binary that is being built meanwhile must never embed half a page: fill a new folder, then swap.
    let fresh = root.join("target/dist/page.new");
    remove_folder(&fresh)?;
    fs::create_dir_all(fresh.join("assets")).with_context(|| format!("create {}", fresh.display()))?;
    for (name, bytes) in &assets.files {
        write(&fresh.join("assets").join(name), bytes)?;
    }
    write(&fresh.join("index.html"), &assets.rename(read(&web.join("index.html"))?)?)?;
    remove_folder(&page)?;
    fs::rename(&fresh, &page).with_context(|| format!("rename {} to {}", fresh.display(), page.display()))?;
    println!("page: {} files in {}", assets.files.len() + 1, page.display());
    write(&stamp, fingerprint.as_bytes())
}

/// Runs `npm ci` unless the packages on disk are those of the lock file.
fn install_packages(web: &Path) -> anyhow::Result<()> {
    let lock = read(&web.join("package-lock.json"))?;
    let installed = web.join("node_modules/.newroot-lock");
    if fs::read(&installed).is_ok_and(|old| old == lock) {
        return Ok(());
    }
    println!("page: npm ci (xterm.js and two fonts, as the lock file says)");
    command::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(web))?;
    write(&installed, &lock)
}

/// Names the state of everything the page is made of, this file included.
fn fingerprint(web: &Path, wasm: &Path) -> anyhow::Result<String> {
    let mut hasher = Sha256::new_with_prefix(include_bytes!("web.rs"));
    let listed = FILES.iter().map(|(_, path)| web.join(path));
    for path in listed.chain([web.join("js/start.js"), web.join("index.html"), wasm.to_owned()]) {
        let bytes = read(&path)?;
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    }
    Ok(hex(&hasher.finalize()))
}

/// Makes every asset. The order matters: a file's name hangs on its content, and its content on the names in it.
fn assemble(web: &Path, wasm: &Path, glue_folder: &Path) -> anyhow::Result<Assets> {
    Bindgen::new()
        .input_path(wasm)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(glue_folder)
        .context("wasm-bindgen on web.wasm")?;
    let glue = read(&glue_folder.join("web.js"))?;
    ensure!(find(&glue, b"./snippets/").is_none(), "the glue imports snippets, which xtask/src/web.rs does not ship");

    let mut assets = Assets::default();
    for (name, path) in FILES {
        assets.add(name, without_source_map(read(&web.join(path))?))?;
    }
    assets.add("web_bg.wasm", read(&glue_folder.join("web_bg.wasm"))?)?;
    assets.add("web.js", glue)?;
    assets.add("start.js", read(&web.join("js/start.js"))?)?;
    Ok(assets)
}

/// The page's files under their final names.
#[derive(Default)]
struct Assets {
    files: Vec<(String, Vec<u8>)>,
    /// The name a file is referred to by, and its final name.
    names: Vec<(&'static str, String)>,
}

impl Assets {
    fn add(&mut self, name: &'static str, bytes: Vec<u8>) -> anyhow::Result<()> {
        let is_text = ![".wasm", ".woff2"].iter().any(|binary| name.ends_with(binary));
        let bytes = if is_text { self.rename(bytes)? } else { bytes };
        let (stem, extension) = name.rsplit_once('.').context("an asset's name has an extension")?;
        let hash = hex(&Sha256::digest(&bytes)[..6]);
        let last = format!("{stem}-{hash}.{extension}");
        self.names.push((name, last.clone()));
        self.files.push((last, bytes));
        Ok(())
    }

    /// Puts final names where a text refers to files: `'./xterm.mjs'`, `"/assets/page.css"`, `'web_bg.wasm'`.
    fn rename(&self, text: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let mut text = String::from_utf8(text).context("an asset is not UTF-8")?;
        for (name, last) in &self.names {
            for (before, after) in [("/", "\""), ("/", "'"), ("'", "'")] {
                text = text.replace(&format!("{before}{name}{after}"), &format!("{before}{last}{after}"));
            }
        }
        Ok(text.into_bytes())
    }
}

/// The source maps are not shipped, so no file may point to one: developer tools would ask for it.
fn without_source_map(mut file: Vec<u8>) -> Vec<u8> {
    if let Some(start) = find(&file, b"//# sourceMappingURL=") {
        file.truncate(start);
    }
    file
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn remove_folder(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
