//! What registries, images and archives say is shown, and commands no terminal and no log.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::json;
use tar::EntryType;

use crate::common::mirror::{Mirror, Parrot};
use crate::common::scripted::{self, ScriptedRegistry};
use crate::common::{Layer, Registry, busybox, make_odd_image, newroot, pull, run_newroot, text_of};

/// Clears the screen, ends the line, and turns what follows around.
const HOSTILE: &str = "\u{1b}[2J\u{9b}31m\r\u{202e}\u{2066}\u{200f}\u{61c}";
/// How it is shown.
const SHOWN: &str = r"\x1b[2J\u009b31m\x0d\u202e\u2066\u200f\u061c";

/// Asserts that a program has shown the words, and not obeyed them.
fn shows(output: &Output, shown: &str) {
    let text = text_of(output);
    assert!(text.contains(shown), "{shown} is not in {text:?}");
    harmless(&text);
}

fn harmless(text: &str) {
    let bad = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}\u{200f}\u{61c}".contains(c);
    assert!(!text.contains(bad), "{text:?}");
}

fn error(status: &str, code: &str, message: &str) -> Parrot {
    let body = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    Parrot::start(format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn of_a_registry_that_refuses() {
    let fs_directory = tempfile::tempdir().unwrap();
    let message = format!("{HOSTILE}\nnewroot: ");
    for (status, code) in [
        ("429 Too Many Requests", "TOOMANYREQUESTS"),
        ("429 Too Many Requests", "UNKNOWN"),
        ("502 Bad Gateway", "UNAVAILABLE"),
        ("418 Teapot", "UNKNOWN"),
        ("400 Bad Request", "UNKNOWN"),
    ] {
        let registry = error(status, code, &message);
        let output = pull(&registry.url(), fs_directory.path(), "alpine");
        shows(&output, &format!(r"{SHOWN}\nnewroot: "));
        // And as the labs' mirror passes it on, in a form in which any client may print it.
        let state = tempfile::tempdir().unwrap();
        let mirror = Mirror::start(state.path(), Some(&registry.url()));
        let (_, body) = mirror.get("/v2/library/alpine/manifests/latest");
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        harmless(answer["errors"][0]["message"].as_str().unwrap());
        harmless(&text_of(&pull(&mirror.url(), fs_directory.path(), "alpine")));
    }
    let nonsense = format!("HTTP/1.1 503 {HOSTILE}\r\nConnection: close\r\n\r\n{HOSTILE}");
    harmless(&text_of(&pull(&Parrot::start(nonsense).url(), fs_directory.path(), "alpine")));
}

#[test]
fn of_a_registry_that_names_what_it_has() {
    let fs_directory = tempfile::tempdir().unwrap();
    let tags = json!({ "name": "library/alpine", "tags": [format!("lates{HOSTILE}")] }).to_string();
    let registry = Parrot::start("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    harmless(&text_of(&pull(&registry.url(), fs_directory.path(), "alpine")));
    // It answers each question with this, the one for the manifest too: there it is none.
    let registry =
        Parrot::start(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{tags}", tags.len()));
    harmless(&text_of(&pull(&registry.url(), fs_directory.path(), "alpine")));
}

#[test]
fn of_an_images_manifest_and_configuration() {
    let registry = Registry::start();
    let fs_directory = tempfile::tempdir().unwrap();
    let pulled = |change: &dyn Fn(&mut serde_json::Value)| {
        let layout = tempfile::tempdir().unwrap();
        make_odd_image(layout.path(), &[busybox().gzip()], change);
        registry.copy(layout.path(), "library/odd", &["--all"]);
        pull(&registry.url(), fs_directory.path(), "odd")
    };
    shows(&pulled(&|config| config["architecture"] = HOSTILE.into()), SHOWN);
    shows(&pulled(&|config| config["rootfs"]["diff_ids"][0] = HOSTILE.into()), SHOWN);
    harmless(&text_of(&pulled(&|config| config["rootfs"] = HOSTILE.into())));
    // What a manifest calls its layers is in the first line that is shown of each.
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": HOSTILE, "digest": format!("sha256:{HOSTILE}"), "size": 2 },
        "layers": [{ "mediaType": HOSTILE, "digest": format!("sha256:{HOSTILE}"), "size": 2 }],
    })
    .to_string();
    let answer =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{manifest}", manifest.len());
    harmless(&text_of(&pull(&Parrot::start(answer).url(), fs_directory.path(), "odd")));
    // How an image wants to be run.
    for (name, config, shown) in [
        ("user", json!({ "User": format!("a{HOSTILE}"), "Cmd": ["sh"] }), SHOWN),
        ("program", json!({ "Cmd": [format!("/bin/{HOSTILE}")] }), SHOWN),
        ("directory", json!({ "WorkingDir": format!("/{HOSTILE}"), "Cmd": ["sh"] }), SHOWN),
    ] {
        registry.push_configured(&format!("library/{name}"), &[busybox().gzip()], config);
        assert!(pull(&registry.url(), fs_directory.path(), name).status.success());
        shows(&run_newroot(&["run", "--fs", fs_directory.path().to_str().unwrap(), name]), shown);
    }
}

#[test]
fn of_an_archive() {
    let fs_directory = tempfile::tempdir().unwrap();
    let layers = [
        Layer::new().file(&format!("../{HOSTILE}"), ""),
        Layer::new().hard_link("link", HOSTILE),
        Layer::new().file(HOSTILE, "").file(&format!("{HOSTILE}/below"), ""),
        Layer::new().entry(EntryType::new(b'Z'), HOSTILE, 0o644, "", b""),
    ];
    for layer in layers {
        let registry = ScriptedRegistry::start(vec![layer.tar()], |_, layer, stream| scripted::answer(layer, stream));
        let output = pull(registry.url(), fs_directory.path(), "odd");
        harmless(&text_of(&output));
        assert!(output.status.success() || text_of(&output).contains(SHOWN), "{}", text_of(&output));
    }
    let (state, archive) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let manifest = json!([{ "Config": HOSTILE, "RepoTags": [HOSTILE], "Layers": [HOSTILE] }]).to_string();
    fs::write(archive.path(), Layer::new().file("manifest.json", &manifest).tar()).unwrap();
    let import =
        newroot().args(["images", "import", "--state"]).arg(state.path()).arg(archive.path()).output().unwrap();
    assert!(!import.status.success());
    shows(&import, SHOWN);
}

#[test]
fn of_a_credential_helper() {
    let directory = tempfile::tempdir().unwrap();
    let helper = directory.path().join("docker-credential-odd");
    fs::write(&helper, format!("#!/bin/sh\nprintf '%s\\n' '{HOSTILE}' >&2\nprintf '%s' '{HOSTILE}'\nexit 1\n"))
        .unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.path().join("config.json"), r#"{"credsStore":"odd"}"#).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_newroot"))
        .args(["pull", "--registry", "http://127.0.0.1:1", "alpine", "--fs"])
        .arg(directory.path())
        .env("DOCKER_CONFIG", directory.path())
        .env("PATH", path)
        .output()
        .unwrap();
    shows(&output, SHOWN);
    assert_eq!(
        text_of(&output).matches(SHOWN).count(),
        2,
        "on standard error, and in its answer: {}",
        text_of(&output)
    );
}
