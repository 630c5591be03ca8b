//! `newroot pull` and what registries hold and do: formats, platforms, passwords, trouble.

use std::fs;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tar::EntryType;

use crate::common::proxy::{Proxy, Trouble};
use crate::common::{LOGIN, Layer, Registry, make_image, make_index, names_in, newroot, pull, text_of};

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn layers_may_be_in_zstd() {
    let registry = Registry::start();
    let (layout, fs_directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // More than a window of what hardly compresses, then a layer that needs a second reading for its whiteout.
    let large = noise(9 << 20);
    let lower = Layer::new().entry(EntryType::Regular, "large", 0o644, "", &large).file("gone", "1");
    make_image(layout.path(), &[lower.gzip(), Layer::new().file(".wh.gone", "").file("new", "2").gzip()]);
    registry.copy(layout.path(), "library/small", &["--dest-compress-format", "zstd"]);
    let manifest = Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{}/library/small", registry.address()))
        .output()
        .unwrap();
    assert_eq!(text_of(&manifest).matches("application/vnd.oci.image.layer.v1.tar+zstd").count(), 2);
    let output = pull(&registry.url(), fs_directory.path(), "small");
    assert!(output.status.success(), "{}", text_of(&output));
    let rootfs = fs_directory.path().join("small/rootfs");
    assert_eq!(names_in(&rootfs), ["large", "new"]);
    assert!(fs::read(rootfs.join("large")).unwrap() == large);
}

#[test]
fn an_image_for_another_platform_can_be_asked_for() {
    let registry = Registry::start();
    let (layout, fs_directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let image = |name: &str| Layer::new().file(name, "").gzip();
    let images =
        [("arm", Some("v6"), image("arm6")), ("arm", Some("v7"), image("arm7")), ("riscv64", None, image("v"))];
    make_index(layout.path(), &images);
    registry.copy(layout.path(), "library/multi", &["--all"]);
    let pull_for = |platform: &str| {
        newroot()
            .args(["pull", "--registry", &registry.url(), "--platform", platform, "multi", "--fs"])
            .arg(fs_directory.path())
            .output()
            .unwrap()
    };
    for (platform, file) in [("linux/arm/v7", "arm7"), ("linux/riscv64", "v"), ("linux/arm", "arm6")] {
        let output = pull_for(platform);
        assert!(output.status.success(), "{}", text_of(&output));
        assert_eq!(names_in(&fs_directory.path().join("multi/rootfs")), [file]);
    }
    for platform in ["linux/s390x", "linux/arm/v8", "windows/arm"] {
        let output = pull_for(platform);
        let expected = format!(
            "multi:latest is not made for {platform}; there is linux/arm/v6, linux/arm/v7, linux/riscv64; \
             choose one of them by --platform"
        );
        assert!(!output.status.success() && text_of(&output).contains(&expected), "{}", text_of(&output));
    }
    assert!(text_of(&pull_for("arm64")).contains("`arm64` is not a platform; write OS/ARCHITECTURE"));
    assert_eq!(names_in(&fs_directory.path().join("multi/rootfs")), ["arm6"], "a failed pull changes nothing");
}

#[test]
fn a_private_image_takes_the_password_that_docker_has_kept() {
    let registry = Registry::start_private();
    let (layout, docker, fs_directory) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_image(layout.path(), &[Layer::new().file("secret", "").gzip()]);
    registry.copy(layout.path(), "team/private", &["--dest-creds", &format!("{}:{}", LOGIN.0, LOGIN.1)]);
    let helper = docker.path().join("helper");
    let answer = serde_json::json!({ "ServerURL": "", "Username": LOGIN.0, "Secret": LOGIN.1 });
    let script = format!(
        "#!/bin/sh\nread registry\n[ \"$1 $registry\" = \"get {}\" ] && echo '{answer}' && exit\n\
         echo 'credentials not found in native keychain'; exit 1\n",
        registry.address()
    );
    fs::write(&helper, script).unwrap();
    // By another process: a file that any process here has open for writing cannot be executed.
    let program = docker.path().join("docker-credential-test");
    assert!(Command::new("install").args(["-m", "755"]).args([&helper, &program]).status().unwrap().success());
    let path = format!("{}:{}", docker.path().display(), std::env::var("PATH").unwrap());
    let pull_with = |config: serde_json::Value| {
        fs::write(docker.path().join("config.json"), config.to_string()).unwrap();
        newroot()
            .args(["pull", "--registry", &registry.url(), "team/private", "--fs"])
            .arg(fs_directory.path())
            .env("DOCKER_CONFIG", docker.path())
            .env("PATH", &path)
            .output()
            .unwrap()
    };
    let encoded = |user: &str, password: &str| STANDARD.encode(format!("{user}:{password}"));
    let host = registry.address();
    let succeeds = |config: serde_json::Value| {
        let output = pull_with(config);
        assert!(output.status.success(), "{}", text_of(&output));
        assert_eq!(names_in(&fs_directory.path().join("team/private/rootfs")), ["secret"]);
        fs::remove_dir_all(fs_directory.path().join("team")).unwrap();
    };
    succeeds(serde_json::json!({ "auths": { host: { "auth": encoded(LOGIN.0, LOGIN.1) } } }));
    succeeds(
        serde_json::json!({ "auths": { (format!("http://{host}/v2/")): { "username": LOGIN.0, "password": LOGIN.1 } } }),
    );
    succeeds(serde_json::json!({ "auths": { host: {} }, "credHelpers": { host: "test" } }));
    succeeds(serde_json::json!({ "credsStore": "test" }));

    let fails = |config: serde_json::Value, why: &str| {
        let output = pull_with(config);
        assert_eq!(output.status.code(), Some(1));
        assert!(text_of(&output).contains(why), "{why}: {}", text_of(&output));
        assert!(!text_of(&output).contains(LOGIN.1), "no password in {}", text_of(&output));
        assert!(!fs_directory.path().join("team/private").exists());
    };
    let wrong = encoded(LOGIN.0, "wrong");
    fails(serde_json::json!({ "auths": { host: { "auth": wrong } } }), "refuses team/private:latest to learner");
    fails(serde_json::json!({}), "wants a login for team/private:latest");
    fails(serde_json::json!({ "auths": { "127.0.0.1:1": { "auth": wrong } } }), "wants a login");
    fails(serde_json::json!({ "credHelpers": { host: "missing" } }), "cannot run docker-credential-missing");
    fails(serde_json::json!({ "auths": { host: { "identitytoken": "x" } } }), "identity token");
    fails(serde_json::json!("text"), "is not as Docker writes it");
}

#[test]
fn a_cut_layer_goes_on_where_it_was_cut_and_a_registry_in_trouble_is_asked_again() {
    use Trouble::{CutAfter, Unavailable};
    let registry = Registry::start();
    let content = noise(1 << 20);
    registry.push("library/large", &[Layer::new().entry(EntryType::Regular, "large", 0o644, "", &content).gzip()]);
    let fs_directory = tempfile::tempdir().unwrap();
    // Manifests are smaller than that: it is the layer that is cut, twice.
    let proxy = Proxy::start(registry.address(), [Unavailable, Unavailable, CutAfter(400_000), CutAfter(300_000)]);
    let output = pull(&proxy.url(), fs_directory.path(), "large");
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(fs::read(fs_directory.path().join("large/rootfs/large")).unwrap() == content);
    let passed = proxy.passed();
    assert!((1 << 20..(1 << 20) + 100_000).contains(&passed), "{passed} bytes: none of the layer comes twice");
}

#[test]
fn a_registry_that_stays_in_trouble_is_given_up() {
    let registry = Registry::start();
    registry.push("library/large", &[Layer::new().entry(EntryType::Regular, "x", 0o644, "", &noise(1 << 20)).gzip()]);
    let fs_directory = tempfile::tempdir().unwrap();
    let fails = |trouble: Trouble, why: &str| {
        let proxy = Proxy::start(registry.address(), std::iter::repeat(trouble));
        let output = pull(&proxy.url(), fs_directory.path(), "large");
        assert_eq!(output.status.code(), Some(1));
        assert!(text_of(&output).contains(why), "{why}: {}", text_of(&output));
        assert_eq!(names_in(fs_directory.path()), [""; 0], "{why}");
    };
    fails(Trouble::Unavailable, "is in trouble: 503");
    fails(Trouble::CutAfter(0), "the connection to 127.0.0.1");
    fails(Trouble::CutAfter(100_000), "nothing of it was used");
}
