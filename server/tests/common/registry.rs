//! A real docker-registry on a free port, and what is put into it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use newroot::registry::Digest;
use serde_json::json;
use tempfile::TempDir;

use super::image::make_configured_image;
use super::text_of;

/// Name and password at a private registry.
pub const LOGIN: (&str, &str) = ("learner", "correct horse");

/// A real registry (Debian's docker-registry) that ends with this value.
pub struct Registry {
    process: Child,
    storage: TempDir,
    address: String,
    answered: BufReader<ChildStdout>,
}

impl Registry {
    /// Starts an empty one on a port of the kernel's choice, and waits until it listens.
    pub fn start() -> Registry {
        Registry::start_with("")
    }

    /// The same, for those who have `LOGIN` only.
    pub fn start_private() -> Registry {
        Registry::start_with("auth: {htpasswd: {realm: newroot, path: PASSWORDS}}\n")
    }

    fn start_with(access: &str) -> Registry {
        let storage = tempfile::tempdir().unwrap();
        let configuration = storage.path().join("config.yml");
        let root = storage.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: 127.0.0.1:0}}\n",
            root.display()
        );
        let passwords = storage.path().join("passwords");
        // bcrypt of the password, as `htpasswd -B` writes it.
        fs::write(&passwords, "learner:$2y$05$NewrootNewrootNewrootuj1kbuHNB2aktDG2tJTRBMgv58qSqbPq\n").unwrap();
        let access = access.replace("PASSWORDS", passwords.to_str().unwrap());
        fs::write(&configuration, text + &access).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let line = log.next().unwrap_or_else(|| panic!("docker-registry did not start:\n{said}")).unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().unwrap().to_owned();
            }
            said += &line;
        };
        // Somebody must read on, or it will wait for a full pipe to empty.
        std::thread::spawn(move || log.for_each(drop));
        let answered = BufReader::new(process.stdout.take().unwrap());
        Registry { process, storage, address, answered }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes an image of gzip layers and pushes it, by skopeo: `library/alpine:3`. Returns the digests of the layers.
    pub fn push(&self, name: &str, layers: &[Vec<u8>]) -> Vec<Digest> {
        self.push_configured(name, layers, json!({}))
    }

    /// The same, with this `config` in the image's configuration.
    pub fn push_configured(&self, name: &str, layers: &[Vec<u8>], config: serde_json::Value) -> Vec<Digest> {
        let layout = tempfile::tempdir().unwrap();
        let digests = make_configured_image(layout.path(), layers, config);
        self.copy(layout.path(), name, &[]);
        digests
    }

    /// Pushes what is in an OCI image layout, by `skopeo copy` with these options.
    pub fn copy(&self, layout: &Path, name: &str, options: &[&str]) {
        let output = Command::new("skopeo")
            .args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"])
            .args(options)
            .arg(format!("oci:{}", layout.display()))
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .expect("skopeo is installed");
        assert!(output.status.success(), "{}", text_of(&output));
    }

    /// Ends it, once it has noted a request that contains `text`. Returns how many such requests it has noted in all.
    pub fn count_requests(mut self, text: &str) -> usize {
        let mut count = 0;
        let mut line = String::new();
        while self.answered.read_line(&mut line).unwrap() > 0 {
            if line.contains(text) {
                count += 1;
                let _ = self.process.kill();
            }
            line.clear();
        }
        count
    }

    /// Ends it, once it has noted a request for each of these paths. Returns all requests that it has noted.
    pub fn requests(mut self, paths: &[String]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        let mut missing = paths.to_vec();
        while self.answered.read_line(&mut line).unwrap() > 0 {
            missing.retain(|path| !line.contains(path));
            if missing.is_empty() {
                let _ = self.process.kill();
            }
            lines.push(std::mem::take(&mut line));
        }
        lines
    }

    /// The file in which the registry keeps a blob.
    pub fn blob_file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.storage.path().join(format!("storage/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
