//! The registry mirror over real HTTP, with a real registry upstream and `newroot pull` as its client.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use newroot::registry::{Digest, Store, lab_rootfs};
use tempfile::TempDir;

use crate::common::mirror::{Mirror, Parrot};
use crate::common::{Layer, Registry, busybox, names_in, newroot, pull, text_of};

/// The blobs in a mirror's cache.
fn cached(state: &TempDir) -> Vec<String> {
    assert_eq!(names_in(&state.path().join("cache/unfinished")), [""; 0]);
    names_in(&state.path().join("cache/blobs/sha256"))
}

#[test]
fn what_was_pulled_once_is_served_without_the_upstream() {
    let registry = Registry::start();
    let digests = registry.push("library/alpine", &[busybox().gzip(), Layer::new().file("x", "y").gzip()]);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let first = tempfile::tempdir().unwrap();
    let output = pull(&mirror.url(), first.path(), "alpine");
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(fs::read_to_string(first.path().join("alpine/rootfs/x")).unwrap(), "y");
    for digest in &digests {
        assert!(cached(&state).contains(&digest.hex().to_owned()));
    }
    drop(registry);
    drop(mirror);

    // A day later the tag is no longer believed; but with the upstream out of reach the old answer is better than none.
    let tag = fs::File::open(state.path().join("cache/tags/library/alpine/:latest")).unwrap();
    tag.set_modified(SystemTime::now() - Duration::from_secs(86400)).unwrap();
    let mirror = Mirror::start(state.path(), Some("http://127.0.0.1:1"));
    let second = tempfile::tempdir().unwrap();
    let output = pull(&mirror.url(), second.path(), "alpine");
    assert!(output.status.success(), "{}", text_of(&output));
    let output = pull(&mirror.url(), second.path(), "never-seen");
    assert!(
        text_of(&output).contains("the mirror cannot reach 127.0.0.1:1: Connection refused"),
        "{}",
        text_of(&output)
    );
}

#[test]
fn a_tag_is_believed_for_minutes_and_not_for_a_day() {
    let registry = Registry::start();
    registry.push("library/alpine", &[Layer::new().file("old", "").gzip()]);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let (_, old) = mirror.get("/v2/library/alpine/manifests/latest");
    registry.push("library/alpine", &[Layer::new().file("new", "").gzip()]);
    assert_eq!(mirror.get("/v2/library/alpine/manifests/latest").1, old);
    let tag = fs::File::open(state.path().join("cache/tags/library/alpine/:latest")).unwrap();
    tag.set_modified(SystemTime::now() - Duration::from_secs(86400)).unwrap();
    assert_ne!(mirror.get("/v2/library/alpine/manifests/latest").1, old);
}

#[test]
fn many_who_ask_for_a_blob_all_get_it_and_the_upstream_is_asked_once() {
    let registry = Registry::start();
    let digests = registry.push("library/alpine", &[busybox().gzip()]);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let path = format!("/v2/library/alpine/blobs/{}", digests[0].as_str());
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| mirror.get(&path))).collect();
        for answer in asked {
            let (head, body) = answer.join().unwrap();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            assert_eq!(Digest::of(&body), digests[0]);
        }
    });
    assert_eq!(cached(&state), [digests[0].hex()]);
    assert_eq!(registry.count_requests(&format!("GET {path}")), 1);
}

#[test]
fn a_corrupted_blob_is_not_kept_and_not_served() {
    let registry = Registry::start();
    let digests = registry.push("library/alpine", &[Layer::new().file("x", "content").gzip()]);
    let blob = registry.blob_file(&digests[0]);
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    mirror.refuses(&format!("GET /v2/library/alpine/blobs/{}", digests[0].as_str()), 502, "DIGEST_INVALID");
    assert_eq!(cached(&state), [""; 0]);
    let fs_directory = tempfile::tempdir().unwrap();
    let output = pull(&mirror.url(), fs_directory.path(), "alpine");
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains("something else than was asked for"), "{}", text_of(&output));
    assert_eq!(names_in(fs_directory.path()), [""; 0]);
}

#[test]
fn the_embedded_image_needs_no_upstream() {
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), None);
    let fs_directory = tempfile::tempdir().unwrap();
    for name in ["busybox", "library/busybox"] {
        let output = pull(&mirror.url(), fs_directory.path(), name);
        assert!(output.status.success(), "{}", text_of(&output));
    }
    assert!(fs_directory.path().join("busybox/rootfs/bin/busybox").is_file());
    mirror.refuses("GET /v2/library/alpine/manifests/latest", 404, "MANIFEST_UNKNOWN");
    mirror.refuses("GET /v2/library/busybox/manifests/other", 404, "MANIFEST_UNKNOWN");
}

#[test]
fn the_labs_rootfs_is_unpacked_once() {
    let state = tempfile::tempdir().unwrap();
    let _mirror = Mirror::start(state.path(), None);
    let rootfs = lab_rootfs(state.path()).unwrap();
    assert_eq!(rootfs.parent().unwrap().parent().unwrap(), state.path().join("images"));
    let busybox = fs::metadata(rootfs.join("bin/busybox")).unwrap();
    assert_eq!((busybox.uid(), busybox.gid(), busybox.mode() & 0o111), (0, 0, 0o111));
    assert_eq!(fs::metadata(rootfs.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    let inode = fs::metadata(&rootfs).unwrap().ino();
    let again = lab_rootfs(state.path()).unwrap();
    assert_eq!((&again, fs::metadata(&again).unwrap().ino()), (&rootfs, inode), "the second call unpacks nothing");
    assert_eq!(names_in(&state.path().join("images")).len(), 1);
    assert_eq!(fs::metadata(rootfs.parent().unwrap()).unwrap().mode() & 0o777, 0o755);
    for closed in ["images", "imported", "cache"] {
        let mode = fs::metadata(state.path().join(closed)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700, "the set-user-ID programs in {closed} are nobody else's");
    }
}

#[test]
fn it_answers_as_the_specification_says() {
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), None);
    let (head, body) = mirror.get("/v2/");
    assert!(head.starts_with("http/1.1 200") && body == b"{}", "{head}");
    let (head, manifest) = mirror.get("/v2/library/busybox/manifests/latest");
    assert!(head.contains("content-type: application/vnd.oci.image.manifest.v1+json"), "{head}");
    assert!(head.contains(&format!("docker-content-digest: {}", Digest::of(&manifest).as_str())), "{head}");
    let (by_head, nothing) = mirror.ask("HEAD /v2/library/busybox/manifests/latest HTTP/1.1\r\n");
    assert!(by_head.contains(&format!("content-length: {}", manifest.len())) && nothing.is_empty(), "{by_head}");
    let json: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let digest = json.pointer("/layers/0/digest").unwrap().as_str().unwrap();
    let (_, blob) = mirror.get(&format!("/v2/busybox/blobs/{digest}"));
    assert_eq!(Digest::of(&blob).as_str(), digest);
    let (head, part) = mirror.ask(&format!("GET /v2/busybox/blobs/{digest} HTTP/1.1\r\nRange: bytes=10-19\r\n"));
    assert!(head.starts_with("http/1.1 206") && head.contains("content-range: bytes 10-19/"), "{head}");
    assert_eq!(part, blob[10..20]);
}

#[test]
fn hostile_requests_are_refused() {
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let digest = Digest::of(b"nothing");
    for (request, status, code) in [
        ("GET /v2/../../etc/passwd/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/a/%2e%2e/b/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/a%00b/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/UPPER/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/alpine/manifests/..", 404, "MANIFEST_UNKNOWN"),
        ("GET /v2/alpine/manifests/missing", 404, "MANIFEST_UNKNOWN"),
        ("GET /v2/alpine/blobs/sha256:short", 400, "DIGEST_INVALID"),
        ("GET /v2/alpine/blobs/sha256:..%2f..%2fetc%2fpasswd", 404, "UNSUPPORTED"),
        (&format!("GET /v2/alpine/blobs/{}", digest.as_str()), 404, "BLOB_UNKNOWN"),
        ("GET /v2/_catalog", 404, "UNSUPPORTED"),
        ("POST /v2/alpine/blobs/uploads/", 405, "UNSUPPORTED"),
        ("DELETE /v2/alpine/manifests/latest", 405, "UNSUPPORTED"),
    ] {
        mirror.refuses(request, status, code);
    }
    assert_eq!(cached(&state), [""; 0]);
}

#[test]
fn tags_come_in_pages_from_here_and_from_the_upstream() {
    let registry = Registry::start();
    for tag in ["1", "2", "latest", "old"] {
        registry.push(&format!("library/alpine:{tag}"), &[Layer::new().file("x", tag).gzip()]);
    }
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let tags = |mirror: &Mirror, path: &str| {
        let (head, body) = mirror.get(path);
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let tags = json["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
        let link = head.lines().find_map(|line| line.strip_prefix("link: ")).map(str::to_owned);
        (tags, link)
    };
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(tags(&mirror, "/v2/library/alpine/tags/list"), (all(&["1", "2", "latest", "old"]), None));
    let (first, link) = tags(&mirror, "/v2/library/alpine/tags/list?n=3");
    assert_eq!(first, all(&["1", "2", "latest"]));
    let link = link.unwrap();
    let (next, relation) = link.split_once(">; ").unwrap();
    assert_eq!(relation, "rel=\"next\"");
    assert_eq!(tags(&mirror, next.strip_prefix('<').unwrap()), (all(&["old"]), None));
    assert_eq!(tags(&mirror, "/v2/library/alpine/tags/list?n=0"), (all(&[]), None));
    mirror.refuses("GET /v2/library/alpine/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID");
    mirror.refuses("GET /v2/library/none/tags/list", 404, "NAME_UNKNOWN");
    // Without the upstream, what has been fetched is still there, and so is the embedded image.
    mirror.get("/v2/library/alpine/manifests/old");
    drop(mirror);
    let mirror = Mirror::start(state.path(), Some("http://127.0.0.1:1"));
    assert_eq!(tags(&mirror, "/v2/library/alpine/tags/list"), (all(&["old"]), None));
    assert_eq!(tags(&mirror, "/v2/busybox/tags/list"), (all(&["latest"]), None));
    mirror.refuses("GET /v2/library/none/tags/list", 502, "UNAVAILABLE");
}

#[test]
fn ranges_and_conditions_are_as_in_http() {
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), None);
    let (head, manifest) = mirror.get("/v2/library/busybox/manifests/latest");
    let etag = format!("\"{}\"", Digest::of(&manifest).as_str());
    assert!(head.contains(&format!("etag: {etag}")), "{head}");
    let json: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let digest = json.pointer("/layers/0/digest").unwrap().as_str().unwrap();
    let blob_path = format!("/v2/busybox/blobs/{digest}");
    let (_, blob) = mirror.get(&blob_path);
    for (path, etag) in [("/v2/library/busybox/manifests/latest", etag), (&blob_path, format!("\"{digest}\""))] {
        for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
            let (head, body) = mirror.ask(&format!("GET {path} HTTP/1.1\r\nIf-None-Match: {known}\r\n"));
            assert!(head.starts_with("http/1.1 304") && body.is_empty(), "{known}: {head}");
        }
        assert!(mirror.ask(&format!("GET {path} HTTP/1.1\r\nIf-None-Match: \"x\"\r\n")).0.starts_with("http/1.1 200"));
    }
    let range = |range: &str, more: &str| mirror.ask(&format!("GET {blob_path} HTTP/1.1\r\nRange: {range}\r\n{more}"));
    let (head, body) = range(&format!("bytes={}-", blob.len()), "");
    assert!(
        head.starts_with("http/1.1 416") && head.contains(&format!("content-range: bytes */{}", blob.len())),
        "{head}"
    );
    assert!(String::from_utf8(body).unwrap().contains("SIZE_INVALID"));
    for several in ["bytes=0-1,5-6", "lines=0-1", "bytes=9-8"] {
        let (head, body) = range(several, "");
        assert!(head.starts_with("http/1.1 200") && body == blob, "{several}: {head}");
    }
    assert!(range("bytes=0-9", &format!("If-Range: \"{digest}\"\r\n")).0.starts_with("http/1.1 206"));
    assert!(range("bytes=0-9", "If-Range: \"other\"\r\n").0.starts_with("http/1.1 200"));
    let (head, body) = mirror.ask(&format!("HEAD {blob_path} HTTP/1.1\r\nRange: bytes=0-9\r\n"));
    assert!(head.starts_with("http/1.1 200") && head.contains(&format!("content-length: {}", blob.len())), "{head}");
    assert!(body.is_empty());
}

#[test]
fn a_head_asks_the_upstream_and_fetches_nothing() {
    let registry = Registry::start();
    let layer = busybox().gzip();
    let digest = registry.push("library/alpine", std::slice::from_ref(&layer)).remove(0);
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let (head, body) = mirror.ask(&format!("HEAD /v2/library/alpine/blobs/{} HTTP/1.1\r\n", digest.as_str()));
    assert!(head.starts_with("http/1.1 200") && head.contains(&format!("content-length: {}", layer.len())), "{head}");
    assert!(body.is_empty());
    assert_eq!(cached(&state), [""; 0]);
    let unknown = Digest::of(b"unknown");
    let (head, _) = mirror.ask(&format!("HEAD /v2/library/alpine/blobs/{} HTTP/1.1\r\n", unknown.as_str()));
    assert!(head.starts_with("http/1.1 404"), "{head}");
}

#[test]
fn skopeo_copies_lists_and_inspects_through_the_mirror() {
    let registry = Registry::start();
    let layers = [busybox().gzip(), Layer::new().file("x", "y").gzip()];
    let digests = registry.push("library/alpine:3", &layers);
    let (state, layout) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let image = format!("docker://{}/library/alpine", mirror.address());
    let skopeo = |arguments: &[&str]| {
        let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let target = format!("oci:{}:3", layout.path().display());
    skopeo(&["copy", "--quiet", "--src-tls-verify=false", &format!("{image}:3"), &target]);
    for digest in &digests {
        assert!(layout.path().join("blobs/sha256").join(digest.hex()).is_file());
    }
    assert!(skopeo(&["list-tags", "--tls-verify=false", &image]).contains("\"3\""));
    assert!(skopeo(&["inspect", "--tls-verify=false", &format!("{image}:3")]).contains(digests[0].as_str()));
}

#[test]
fn names_with_a_host_reach_the_registries_that_are_mirrored_and_no_other() {
    let (hub, other) = (Registry::start(), Registry::start());
    hub.push("library/alpine", &[Layer::new().file("hub", "").gzip()]);
    other.push("team/app:1", &[Layer::new().file("other", "").gzip()]);
    let (state, fs_directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = Store::open(state.path(), Some(Mirror::upstream(&hub.url()))).unwrap();
    store.mirror("ghcr.io".to_owned(), Mirror::upstream(&other.url()));
    let mirror = Mirror::serve(store);
    let pull = |image: &str| {
        newroot()
            .args(["pull", image, "--fs"])
            .arg(fs_directory.path())
            .env("NEWROOT_REGISTRY", mirror.url())
            .env("NEWROOT_MIRROR", mirror.url())
            .output()
            .unwrap()
    };
    for (image, directory, file) in [("alpine", "alpine", "hub"), ("ghcr.io/team/app:1", "ghcr.io/team/app:1", "other")]
    {
        let output = pull(image);
        assert!(output.status.success(), "{}", text_of(&output));
        assert_eq!(names_in(&fs_directory.path().join(directory).join("rootfs")), [file]);
    }
    let output = pull("quay.io/team/app:1");
    assert!(!output.status.success());
    assert!(text_of(&output).contains("this mirror does not ask quay.io"), "{}", text_of(&output));
    // What is on this very machine is not asked of a mirror elsewhere.
    let output = pull(&format!("{}/team/app:1", other.address()));
    assert!(output.status.success(), "{}", text_of(&output));
    mirror.refuses("GET /v2/127.0.0.1:22/x/manifests/latest", 403, "UNSUPPORTED");
}

#[test]
fn what_an_upstream_refuses_is_told_in_its_terms_and_what_is_cached_is_still_served() {
    let registry = Registry::start();
    registry.push("library/alpine", &[Layer::new().file("x", "").gzip()]);
    let state = tempfile::tempdir().unwrap();
    let (_, manifest) = Mirror::start(state.path(), Some(&registry.url())).get("/v2/library/alpine/manifests/latest");
    let tag = fs::File::open(state.path().join("cache/tags/library/alpine/:latest")).unwrap();
    tag.set_modified(SystemTime::now() - Duration::from_secs(86400)).unwrap();

    let json = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let error = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"of the upstream"}}]}}"#);
    let digest = Digest::of(b"anything");
    for (answer, status, code, serves_stale) in [
        (json("429 Too Many Requests", ""), 429, "TOOMANYREQUESTS", true),
        (json("429 Too Many Requests", &error("TOOMANYREQUESTS")), 429, "TOOMANYREQUESTS", true),
        (json("403 Forbidden", &error("DENIED")), 403, "DENIED", false),
        (json("401 Unauthorized", &error("UNAUTHORIZED")), 403, "DENIED", false),
        (json("500 Oh", ""), 503, "UNAVAILABLE", true),
        (json("418 Teapot", &error("TEAPOT")), 502, "UNKNOWN", true),
        (json("200 OK", "this is no manifest"), 502, "DIGEST_INVALID", true),
        ("nonsense\r\n\r\n".to_owned(), 503, "UNAVAILABLE", true),
        (String::new(), 503, "UNAVAILABLE", true),
    ] {
        let upstream = Parrot::start(answer.clone());
        let mirror = Mirror::start(state.path(), Some(&upstream.url()));
        mirror.refuses("GET /v2/library/other/manifests/latest", status, code);
        mirror.refuses(&format!("GET /v2/library/other/blobs/{}", digest.as_str()), status, code);
        if serves_stale {
            assert_eq!(mirror.get("/v2/library/alpine/manifests/latest").1, manifest, "{answer}");
        } else {
            mirror.refuses("GET /v2/library/alpine/manifests/latest", status, code);
        }
    }
    let upstream = Parrot::start(json("404 Not Found", &error("MANIFEST_UNKNOWN")));
    let mirror = Mirror::start(state.path(), Some(&upstream.url()));
    mirror.refuses("GET /v2/library/alpine/manifests/latest", 404, "MANIFEST_UNKNOWN");
    mirror.refuses(&format!("GET /v2/library/other/blobs/{}", digest.as_str()), 404, "BLOB_UNKNOWN");
}
