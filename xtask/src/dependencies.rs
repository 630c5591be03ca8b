//! What we depend on: where it comes from, under which licence, and whether it is in the product twice. A few lines over
//! `cargo metadata` instead of cargo-deny, which every fresh machine would have to compile first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command;
use crate::toolchain;

/// Licences that Apache-2.0 software may ship with, by their SPDX names. A crate that offers a choice is held to all it
/// names: simple, and strict enough to make us look.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "LLVM-exception",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that are in the binary or the page in two versions, and who keeps the older one.
const KNOWN_TWICE: &[(&str, &str)] = &[
    ("base64", "oci-client wants 0.22"),
    ("getrandom", "ring wants 0.2"),
    ("thiserror", "gloo-net, below leptos, wants 1"),
];

/// Checks all of it and reports everything found at once.
pub fn check(root: &Path, static_triple: &str) -> Result<()> {
    let mut faults = BTreeSet::new();
    for (product, triple) in [("newroot", static_triple), ("web", toolchain::WASM)] {
        let mut cargo = command::cargo(root);
        cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", triple]);
        let metadata: Value = serde_json::from_str(&command::output(&mut cargo)?).context("read cargo metadata")?;
        let graph = Graph::new(&metadata);
        faults.extend(graph.packages.values().filter_map(|package| origin_fault(package)));
        faults.extend(graph.packages.values().filter_map(|package| licence_fault(package)));
        faults.extend(graph.twice(product)?);
    }
    faults.extend(address_faults(root)?);
    if !faults.is_empty() {
        bail!("dependencies:\n  {}", Vec::from_iter(faults).join("\n  "));
    }
    Ok(())
}

/// A package must be ours or from crates.io: git and path dependencies elsewhere cannot be had again from a lock file.
fn origin_fault(package: &Value) -> Option<String> {
    let source = package["source"].as_str()?;
    let from_crates_io = source.starts_with("registry+") && source.ends_with("/crates.io-index");
    (!from_crates_io).then(|| format!("{} comes from {source}, not from crates.io", title(package)))
}

fn licence_fault(package: &Value) -> Option<String> {
    let Some(expression) = package["license"].as_str() else {
        return Some(format!("{} names no licence", title(package)));
    };
    let unknown = expression
        .split([' ', '/', '(', ')'])
        .filter(|word| !["", "AND", "OR", "WITH"].contains(word))
        .find(|licence| !LICENCES.contains(licence))?;
    Some(format!("{} has the licence {unknown}, which is not on xtask's list", title(package)))
}

fn title(package: &Value) -> String {
    format!("{} {}", package["name"].as_str().unwrap_or("?"), package["version"].as_str().unwrap_or("?"))
}

/// Lock files name what is wanted and its checksum; the address it is fetched from is each machine's own business.
fn address_faults(root: &Path) -> Result<Vec<String>> {
    let files = command::output(std::process::Command::new("git").arg("-C").arg(root).args(["ls-files", "*lock*"]))?;
    let mut faults = Vec::new();
    for file in files.lines().filter(|file| file.ends_with(".lock") || file.ends_with("lock.json")) {
        let text = fs::read_to_string(root.join(file)).with_context(|| format!("read {file}"))?;
        let lines = text.lines().enumerate().filter(|(_, line)| has_address(line));
        faults.extend(lines.map(|(index, line)| format!("{file}:{}: a download address: {}", index + 1, line.trim())));
    }
    Ok(faults)
}

/// crates.io's own name looks like an address, and is the one that cargo has to write.
fn has_address(line: &str) -> bool {
    line.contains("://") && !line.trim_end().ends_with("/crates.io-index\"") && !line.contains("\"url\":")
}

/// The packages of a `cargo metadata` and who depends on whom.
struct Graph<'a> {
    packages: HashMap<&'a str, &'a Value>,
    nodes: HashMap<&'a str, &'a Value>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Value) -> Graph<'a> {
        let by_id = |list: &'a Value| -> HashMap<&'a str, &'a Value> {
            list.as_array().into_iter().flatten().filter_map(|item| Some((item["id"].as_str()?, item))).collect()
        };
        Graph { packages: by_id(&metadata["packages"]), nodes: by_id(&metadata["resolve"]["nodes"]) }
    }

    /// The crates that are twice in what a product ships: what it links, not what runs while it is compiled.
    fn twice(&self, product: &str) -> Result<Vec<String>> {
        let start = self.packages.iter().find(|(_, package)| package["name"] == product);
        let (start, _) = start.with_context(|| format!("there is no package {product}"))?;
        let mut linked = BTreeSet::new();
        let mut open = vec![*start];
        while let Some(id) = open.pop() {
            if linked.insert(id) {
                let dependencies = self.nodes[id]["deps"].as_array().into_iter().flatten();
                open.extend(
                    dependencies.filter(|dependency| self.is_linked(dependency)).filter_map(|d| d["pkg"].as_str()),
                );
            }
        }
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in linked.iter().filter_map(|id| self.packages.get(id)) {
            let (Some(name), Some(version)) = (package["name"].as_str(), package["version"].as_str()) else { continue };
            versions.entry(name).or_default().push(version);
        }
        let twice = versions
            .into_iter()
            .filter(|(name, versions)| versions.len() > 1 && !KNOWN_TWICE.iter().any(|(known, _)| known == name));
        Ok(twice
            .map(|(name, versions)| {
                format!(
                    "{product} links {name} {}: agree on one, or add it to xtask's list with the reason",
                    versions.join(" and ")
                )
            })
            .collect())
    }

    fn is_linked(&self, dependency: &Value) -> bool {
        let normal = dependency["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null());
        let package = dependency["pkg"].as_str().and_then(|id| self.packages.get(id));
        let targets = package.and_then(|package| package["targets"].as_array()).into_iter().flatten();
        let mut kinds = targets.flat_map(|target| target["kind"].as_array().into_iter().flatten());
        normal && !kinds.any(|kind| kind == "proc-macro")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_licence_of_an_expression_counts() {
        let package = |licence: Value| json!({ "name": "a", "version": "1.0.0", "license": licence });
        assert_eq!(licence_fault(&package("(MIT OR Apache-2.0) AND Unicode-3.0".into())), None);
        assert_eq!(licence_fault(&package("Unlicense/MIT".into())), None);
        let fault = licence_fault(&package("MIT AND GPL-3.0-only".into())).expect("a fault");
        assert_eq!(fault, "a 1.0.0 has the licence GPL-3.0-only, which is not on xtask's list");
        assert!(licence_fault(&package(Value::Null)).is_some());
    }

    #[test]
    fn only_crates_io_and_the_workspace_are_sources() {
        let package = |source: Value| json!({ "name": "a", "version": "1.0.0", "source": source });
        assert_eq!(origin_fault(&package(Value::Null)), None);
        assert_eq!(origin_fault(&package("registry+https://example.org/crates.io-index".into())), None);
        assert!(origin_fault(&package("git+https://example.org/a#123".into())).is_some());
        assert!(origin_fault(&package("registry+https://example.org/other".into())).is_some());
    }

    #[test]
    fn a_lock_file_has_no_download_address() {
        assert!(has_address(r#"      "resolved": "https://example.org/a.tgz","#));
        assert!(has_address(r#"source = "git+https://example.org/a""#));
        assert!(!has_address(r#"source = "registry+https://example.org/crates.io-index""#));
        assert!(!has_address(r#"      "integrity": "sha512-AAAA","#));
    }

    #[test]
    fn a_crate_linked_in_two_versions_is_found() {
        let package = |id: &str, name: &str, version: &str, kind: &str| json!({ "id": id, "name": name, "version": version, "targets": [{ "kind": [kind] }] });
        let needs = |ids: &[&str]| {
            ids.iter().map(|id| json!({ "pkg": id, "dep_kinds": [{ "kind": null }] })).collect::<Vec<_>>()
        };
        let metadata = json!({
            "packages": [
                package("n", "newroot", "0.1.0", "bin"), package("a1", "a", "1.0.0", "lib"), package("a2", "a", "2.0.0", "lib"),
                package("m", "macros", "1.0.0", "proc-macro"), package("b1", "b", "1.0.0", "lib"), package("b2", "b", "2.0.0", "lib"),
            ],
            "resolve": { "nodes": [
                { "id": "n", "deps": needs(&["a1", "m", "b1"]) }, { "id": "a1", "deps": needs(&["a2"]) }, { "id": "a2", "deps": [] },
                { "id": "m", "deps": needs(&["b2"]) }, { "id": "b1", "deps": [] }, { "id": "b2", "deps": [] },
            ]},
        });
        let faults = Graph::new(&metadata).twice("newroot").expect("newroot is there");
        assert_eq!(faults.len(), 1, "b is in the macro, which is not linked: {faults:?}");
        assert!(faults[0].starts_with("newroot links a 1.0.0 and 2.0.0"));
    }
}
