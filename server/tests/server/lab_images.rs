//! Images as labs get them: from mirrored hosts, with the server's passwords, imported, or not at all.

use std::fs;

use tar::EntryType;

use crate::common::mirror::{Parrot, noise};
use crate::common::playground::{HOST, NO_UPSTREAM, Playground};
use crate::common::{LOGIN, Layer, Registry, busybox, make_image, newroot, text_of};

/// What a new lab says to a command.
async fn said_in_a_lab(playground: &Playground, command: &str) -> String {
    let mut page = playground.open(&playground.new_cookie()).await;
    page.output_of(HOST, command).await
}

/// The lessons, as a page gets them.
fn lessons(playground: &Playground) -> String {
    playground.ask(&format!("GET /api/lessons HTTP/1.1\r\nHost: {}", playground.address()))
}

#[tokio::test]
async fn without_a_registry_pull_says_so_and_what_there_is_and_the_lesson_takes_that() {
    let playground = Playground::start(None);
    let archive = tempfile::tempdir().unwrap();
    make_image(archive.path(), &[busybox().gzip()]);
    let import = || {
        newroot()
            .args(["images", "import", "--state"])
            .arg(playground.state())
            .arg(archive.path())
            .arg("tools:1")
            .output()
    };
    assert!(import().unwrap().status.success());
    let said = said_in_a_lab(&playground, "newroot pull alpine").await;
    let sentence = "cannot get library/alpine:latest: the mirror cannot reach 127.0.0.1:9: Connection refused (os error 111); \
                    what is there without it: busybox, tools:1";
    assert!(said.replace("\r\n", "").contains(sentence), "{said}");
    let lessons = lessons(&playground);
    assert!(lessons.contains("newroot pull busybox") && !lessons.contains("newroot pull alpine"));
    assert!(lessons.contains("cannot be pulled here just now"));
    // What the lesson says works.
    assert!(said_in_a_lab(&playground, "newroot pull busybox").await.contains("Pulling done"));
}

#[tokio::test]
async fn with_a_registry_the_lesson_takes_alpine_and_goes_on_with_it_when_the_registry_is_gone() {
    let registry = Registry::start();
    registry.push("library/alpine", &[busybox().gzip()]);
    let mut playground = Playground::start(Some(&registry.url()));
    assert!(lessons(&playground).contains("newroot pull alpine"));
    assert!(said_in_a_lab(&playground, "newroot pull alpine").await.contains("Pulling done"));
    drop(registry);
    playground.restart_after(nix::sys::signal::Signal::SIGTERM);
    assert!(lessons(&playground).contains("newroot pull alpine"), "all of it is cached");
    assert!(said_in_a_lab(&playground, "newroot pull alpine").await.contains("Pulling done"));
}

#[tokio::test]
async fn an_image_is_there_for_labs_as_soon_as_it_is_imported() {
    let playground = Playground::start(None);
    let archive = tempfile::tempdir().unwrap();
    make_image(archive.path(), &[busybox().file("etc/imported", "yes\n").gzip()]);
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(page.output_of(HOST, "newroot pull alpine").await.contains("cannot reach"));
    let import = newroot()
        .args(["images", "import", "--state"])
        .arg(playground.state())
        .arg(archive.path())
        .arg("alpine")
        .output();
    assert!(import.unwrap().status.success());
    assert!(page.output_of(HOST, "newroot pull alpine").await.contains("Pulling done"));
    assert!(page.output_of(HOST, "cat /fs/alpine/rootfs/etc/imported").await.contains("yes"));
    assert!(lessons(&playground).contains("newroot pull alpine"));
}

#[tokio::test]
async fn a_lab_reaches_the_hosts_that_are_mirrored() {
    let other = Registry::start();
    other.push("team/app:1", &[Layer::new().file("other", "").gzip()]);
    let mirror = format!("ghcr.io={}", other.url());
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--mirror", &mirror]);
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(page.output_of(HOST, "newroot pull ghcr.io/team/app:1").await.contains("Pulling done"));
    assert!(page.output_of(HOST, "ls /fs/ghcr.io/team/app:1/rootfs").await.contains("other"));
    assert!(page.output_of(HOST, "newroot pull quay.io/team/app").await.contains("this mirror does not ask quay.io"));
}

#[tokio::test]
async fn a_private_upstream_is_asked_with_the_servers_password() {
    let registry = Registry::start_private();
    let (layout, docker) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_image(layout.path(), &[Layer::new().file("secret", "").gzip()]);
    registry.copy(layout.path(), "library/private", &["--dest-creds", &format!("{}:{}", LOGIN.0, LOGIN.1)]);
    for (password, answer) in [(LOGIN.1, "Pulling done"), ("wrong", "wants a login")] {
        let login = serde_json::json!({ "username": LOGIN.0, "password": password });
        let config = serde_json::json!({ "auths": { registry.address(): login } });
        fs::write(docker.path().join("config.json"), config.to_string()).unwrap();
        let environment = [("DOCKER_CONFIG", docker.path())];
        let playground = Playground::start_in(&["--upstream", &registry.url()], &environment);
        let said = said_in_a_lab(&playground, "newroot pull private").await;
        assert!(said.contains(answer), "{said}");
        assert!(!said.contains(password));
    }
}

#[tokio::test]
async fn what_an_upstream_says_commands_neither_a_labs_terminal_nor_the_servers_log() {
    let body = r#"{"errors":[{"code":"UNKNOWN","message":"\u001b[2J\u202e\nWARN"}]}"#;
    let answer = format!("HTTP/1.1 418 Teapot\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let upstream = Parrot::start(answer);
    let playground = Playground::start(Some(&upstream.url()));
    let shown = r"answered with an error: \x1b[2J\u202e\nWARN";
    let said = said_in_a_lab(&playground, "newroot pull alpine").await.replace("\r\n", "");
    assert!(said.contains(shown) && !said.contains("\u{1b}[2J") && !said.contains('\u{202e}'), "{said:?}");
    let log = playground.log();
    assert!(log.contains(shown) && !log.contains(['\u{1b}', '\u{202e}']), "{log:?}");
}

#[tokio::test]
async fn sixty_labs_pull_at_once_and_the_upstream_sees_each_blob_once() {
    let registry = Registry::start();
    let large = Layer::new().entry(EntryType::Regular, "large", 0o644, "", &noise(1 << 18)).gzip();
    let digests = registry.push("library/alpine", &[busybox().gzip(), large]);
    let playground = Playground::start(Some(&registry.url()));
    let mut pages = Vec::new();
    for _ in 0..60 {
        pages.push(playground.open(&playground.new_cookie()).await);
    }
    let pulls = pages.iter_mut().map(|page| page.output_of(HOST, "newroot pull alpine"));
    for said in futures_util::future::join_all(pulls).await {
        assert!(said.contains("Pulling done"), "{said}");
    }
    let paths: Vec<_> =
        digests.iter().map(|digest| format!("GET /v2/library/alpine/blobs/{}", digest.as_str())).collect();
    let requests = registry.requests(&paths);
    for path in paths.iter().chain(&["GET /v2/library/alpine/manifests/latest".to_owned()]) {
        assert_eq!(requests.iter().filter(|line| line.contains(path)).count(), 1, "{path}");
    }
}

#[test]
fn serve_refuses_a_mirror_that_is_none() {
    for (value, why) in
        [("team", "is not the host of an image's name"), ("ghcr.io=ftp://x", "is not a registry's address")]
    {
        let output = newroot().args(["serve", "--mirror", value]).output().unwrap();
        assert!(!output.status.success() && text_of(&output).contains(why), "{}", text_of(&output));
    }
    let state = tempfile::tempdir().unwrap();
    let serve = |flags: &[&str]| {
        newroot().args(["serve", "--listen", "127.0.0.1:0", "--state"]).arg(state.path()).args(flags).output().unwrap()
    };
    let output = serve(&["--upstream", "http://registry.example"]);
    assert!(!output.status.success() && text_of(&output).contains("--upstream-insecure"), "{}", text_of(&output));
}
