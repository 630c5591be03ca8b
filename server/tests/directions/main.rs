//! The dependency directions of ARCHITECTURE.md, as rules over the sources and manifests of the workspace. Each rule is
//! a function from sources to what breaks it, and each is also shown sources made up to break it.

mod source;

use std::fmt;
use std::path::{Path, PathBuf};

use source::Source;
use toml::Table;

/// What a module of the server may reach besides itself. `cli` stands above all of them; main.rs and lib.rs only name.
const MODULES: &[(&str, &[&str])] = &[
    (
        "cli",
        &["checks", "classroom", "defence", "doctor", "http", "lab", "lessons", "registry", "runtime", "sys", "user"],
    ),
    ("http", &["checks", "classroom", "defence", "lab", "lessons", "registry", "runtime", "sys"]),
    ("classroom", &["checks", "defence", "lab", "lessons", "registry", "runtime", "sys"]),
    ("doctor", &["lab", "runtime", "sys"]),
    ("lab", &["checks", "defence", "lessons", "runtime", "sys", "user"]),
    ("defence", &[]),
    ("lessons", &["checks", "runtime", "sys"]),
    ("checks", &[]),
    ("registry", &["defence", "runtime", "sys"]),
    ("runtime", &[]),
    ("user", &["sys"]),
    ("sys", &[]),
];

/// The modules that alone may know a foreign crate.
const KNOWERS: &[(&str, &[&str])] = &[
    ("axum", &["http"]),
    ("cel", &["checks"]),
    ("oci_client", &["runtime/pull", "registry"]),
    ("pty_process", &["lab/terminal"]),
];

/// The files with `unsafe` code.
const UNSAFE: &[&str] = &["server/src/sys.rs", "server/src/runtime/process.rs"];

/// The packages of the workspace, their folders, and what each may depend on within it.
const PACKAGES: &[(&str, &str, &[&str])] = &[
    ("newroot", "server", &["shared"]),
    ("shared", "shared", &[]),
    ("web", "web", &["shared", "xterm-js-sys"]),
    ("xterm-js-sys", "web/xterm-js-sys", &[]),
    ("xtask", "xtask", &[]),
];

/// A line that breaks a rule, and the rule.
#[derive(PartialEq)]
struct Fault {
    path: String,
    line: usize,
    sentence: String,
}

impl fmt::Debug for Fault {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.sentence)
    }
}

impl Fault {
    fn new(source: &Source, line: usize, sentence: String) -> Fault {
        Fault { path: source.path.clone(), line, sentence }
    }
}

/// The server's modules reach only those below them.
fn upward_paths(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("server/src/")) {
        let Some(&module) = source.module().first() else { continue };
        let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
            faults.push(Fault::new(
                source,
                1,
                format!("say in MODULES of server/tests/directions what {module} may use"),
            ));
            continue;
        };
        for (line, reached) in source.modules_reached() {
            if reached != module && !allowed.contains(&reached) {
                faults.push(Fault::new(source, line, format!("{module} must not use {reached}")));
            }
        }
    }
    faults
}

/// The taught runtime stands alone: it is read by people who know nothing else of ours.
fn runtime_reaching_out(sources: &[Source]) -> Vec<Fault> {
    let runtime = sources.iter().filter(|source| is_within(source, "runtime"));
    runtime
        .flat_map(|source| {
            let lines = ["shared", "newroot"].into_iter().flat_map(|ours| source.lines_reaching(ours));
            lines.map(|line| Fault::new(source, line, "the runtime imports nothing of ours".into()))
        })
        .collect()
}

/// A foreign crate is known to one part of the server only, so that another can take its place.
fn foreign_crates(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (foreign, knowers) in KNOWERS {
        let others = sources.iter().filter(|source| !knowers.iter().any(|knower| is_within(source, knower)));
        for source in others {
            let sentence = format!("only {} may name {foreign}", knowers.join(" and "));
            faults
                .extend(source.lines_with(foreign).into_iter().map(|line| Fault::new(source, line, sentence.clone())));
        }
    }
    faults
}

/// One module of the page knows xterm.
fn xterm(sources: &[Source]) -> Vec<Fault> {
    let page = sources.iter().filter(|source| source.path.starts_with("web/src/"));
    let knowers: Vec<(&Source, usize)> =
        page.filter_map(|source| Some((source, *source.lines_with("xterm_js_sys").first()?))).collect();
    let Some((first, _)) = knowers.first() else { return Vec::new() };
    let home = first.module().first().copied();
    let others = knowers.iter().filter(|(source, _)| source.module().first().copied() != home);
    others
        .map(|(source, line)| {
            Fault::new(source, *line, format!("{} knows xterm already, and only one module may", first.path))
        })
        .collect()
}

/// `unsafe` code is in few files, where each block says why it is sound.
fn unsafe_code(sources: &[Source]) -> Vec<Fault> {
    let others = sources.iter().filter(|source| !UNSAFE.contains(&source.path.as_str()));
    others
        .flat_map(|source| {
            let lines = source.lines_with("unsafe").into_iter();
            lines.map(|line| Fault::new(source, line, format!("unsafe code belongs into {}", UNSAFE.join(" or "))))
        })
        .collect()
}

/// `server → shared ← web`, and shared needs nothing but serde.
fn manifests(manifests: &[(String, Table)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (folder, manifest) in manifests {
        let mut fault =
            |sentence: String| faults.push(Fault { path: format!("{folder}/Cargo.toml"), line: 1, sentence });
        let Some((package, _, allowed)) = PACKAGES.iter().find(|(_, known, _)| known == folder) else {
            fault("say in PACKAGES of server/tests/directions what it may depend on".into());
            continue;
        };
        for (kind, dependency) in dependencies(manifest) {
            let ours = PACKAGES.iter().any(|(ours, ..)| *ours == dependency);
            if ours && !allowed.contains(&dependency) {
                fault(format!("{package} must not depend on {dependency}"));
            }
            if *package == "shared" && dependency != "serde" && kind != "dev-dependencies" {
                fault(format!("shared needs nothing but serde, so not {dependency}"));
            }
        }
    }
    faults
}

/// All dependencies of a manifest with the kind of each, also those for one platform only.
fn dependencies(manifest: &Table) -> Vec<(&str, &str)> {
    let platforms = manifest.get("target").and_then(|target| target.as_table()).into_iter().flatten();
    let tables = platforms.filter_map(|(_, platform)| platform.as_table()).chain([manifest]);
    tables
        .flat_map(|table| {
            ["dependencies", "dev-dependencies", "build-dependencies"].map(|kind| (kind, table.get(kind)))
        })
        .filter_map(|(kind, table)| Some((kind, table?.as_table()?)))
        .flat_map(|(kind, table)| table.keys().map(move |name| (kind, name.as_str())))
        .collect()
}

/// Whether a file of the server is that module or below it: `runtime/pull` is `runtime/pull.rs` and `runtime/pull/…`.
fn is_within(source: &Source, module: &str) -> bool {
    let place: Vec<&str> = module.split('/').collect();
    source.path.starts_with("server/src/") && source.module().starts_with(&place)
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace's folder")
}

fn sources() -> Vec<Source> {
    let folders = PACKAGES.iter().map(|(_, folder, _)| format!("{folder}/src")).collect::<Vec<_>>();
    let sources = Source::read_all(&workspace(), &folders.iter().map(String::as_str).collect::<Vec<_>>());
    for expected in ["server/src/main.rs", "server/src/runtime/mod.rs", "shared/src/mount.rs", "web/src/lib.rs"] {
        assert!(sources.iter().any(|source| source.path == expected), "{expected} was not read");
    }
    sources
}

#[test]
fn modules_reach_only_those_below_them() {
    assert_eq!(upward_paths(&sources()), []);
    let broken = [
        Source::new("server/src/lab/views.rs", "use crate::sys;\nuse crate::{runtime::run, http};"),
        Source::new("server/src/lab.rs", "use super::registry;"),
        Source::new("server/src/runtime/root.rs", "use super::super::lab;"),
        Source::new("server/src/surprise.rs", ""),
        Source::new("server/src/main.rs", "use crate::http;"),
    ];
    let found: Vec<String> = upward_paths(&broken).iter().map(|fault| format!("{fault:?}")).collect();
    assert_eq!(
        found,
        [
            "server/src/lab/views.rs:2: lab must not use http",
            "server/src/lab.rs:1: lab must not use registry",
            "server/src/runtime/root.rs:1: runtime must not use lab",
            "server/src/surprise.rs:1: say in MODULES of server/tests/directions what surprise may use",
        ]
    );
}

#[test]
fn the_runtime_imports_nothing_of_ours() {
    assert_eq!(runtime_reaching_out(&sources()), []);
    let broken = [
        Source::new("server/src/runtime/mounts.rs", "\nuse shared::mount::Mount;"),
        Source::new("server/src/runtime/root.rs", "let shared = MsFlags::MS_SHARED;"),
        Source::new("server/src/lab/views.rs", "use shared::mount::Mount;"),
    ];
    assert_eq!(
        format!("{:?}", runtime_reaching_out(&broken)),
        "[server/src/runtime/mounts.rs:2: the runtime imports nothing of ours]"
    );
}

#[test]
fn foreign_crates_have_one_home() {
    assert_eq!(foreign_crates(&sources()), []);
    let at_home = [
        Source::new("server/src/http/router.rs", "use axum::Router;"),
        Source::new("server/src/runtime/pull.rs", "use oci_client::Client;"),
        Source::new("server/src/runtime/pull/layer.rs", "use oci_client::Client;"),
        Source::new("server/src/registry/mod.rs", "oci_client::Client::default();"),
        Source::new("server/src/lab/terminal.rs", "use pty_process::Pty;"),
    ];
    assert_eq!(foreign_crates(&at_home), []);
    for foreign in ["axum", "oci_client", "pty_process"] {
        for elsewhere in ["server/src/lab/mod.rs", "server/src/runtime/pulled.rs", "shared/src/lib.rs"] {
            let faults = foreign_crates(&[Source::new(elsewhere, &format!("use {foreign}::a;"))]);
            assert_eq!(faults.len(), 1, "{foreign} in {elsewhere}");
        }
    }
}

#[test]
fn one_module_of_the_page_knows_xterm() {
    assert_eq!(xterm(&sources()), []);
    let (home, part) = ("web/src/terminal.rs", "web/src/terminal/theme.rs");
    let naming = |path| Source::new(path, "use xterm_js_sys::Terminal;");
    assert_eq!(xterm(&[naming(home), naming(part)]), []);
    assert_eq!(xterm(&[naming(home), naming("web/src/view.rs")]).len(), 1);
}

#[test]
fn unsafe_code_has_few_homes() {
    assert_eq!(unsafe_code(&sources()), []);
    assert_eq!(unsafe_code(&[Source::new("server/src/sys.rs", "unsafe { a() }")]), []);
    for elsewhere in ["server/src/lab/zygote.rs", "shared/src/lib.rs", "web/src/lib.rs", "server/src/lab/sys.rs"] {
        assert_eq!(unsafe_code(&[Source::new(elsewhere, "unsafe { a() }")]).len(), 1, "{elsewhere}");
    }
}

#[test]
fn crates_depend_in_one_direction() {
    let read = |folder: &str| {
        let path = workspace().join(folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        (folder.to_owned(), text.parse::<Table>().expect("a manifest is TOML"))
    };
    let (_, workspace) = read(".");
    let members = workspace["workspace"]["members"].as_array().expect("a list of members");
    let all: Vec<_> = members.iter().map(|member| read(member.as_str().expect("a folder"))).collect();
    assert!(all.len() >= PACKAGES.len(), "a package was not read");
    assert_eq!(manifests(&all), []);

    for (folder, text, sentence) in [
        ("shared", "[dependencies]\nweb.workspace = true", "shared must not depend on web"),
        ("shared", "[dependencies]\nlibc = \"0.2\"", "shared needs nothing but serde, so not libc"),
        ("web", "[target.'cfg(unix)'.dependencies]\nnewroot = \"0.1\"", "web must not depend on newroot"),
        ("server", "[dev-dependencies]\nweb = \"0.1\"", "newroot must not depend on web"),
        ("tools", "", "say in PACKAGES of server/tests/directions what it may depend on"),
    ] {
        let found = manifests(&[(folder.to_owned(), text.parse().expect("TOML"))]);
        assert!(found.iter().any(|fault| fault.sentence == sentence), "{folder} with {text}: {found:?}");
    }
}
