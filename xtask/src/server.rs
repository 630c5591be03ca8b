//! Builds the binary `newroot`, names the build, and proves that the binary is static.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::command;
use crate::toolchain::StaticTarget;

/// What the binary, the page and the images are made from, below the workspace.
const SOURCES: &[&str] =
    &["Cargo.toml", "Cargo.lock", "server", "shared", "web", "lessons", "xtask/src/web.rs", "xtask/src/image.rs"];

/// Names the build by a digest of its sources: it changes exactly when they do, so that a stale page reloads, and a
/// build of unchanged sources compiles nothing.
pub fn build_id(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        let path = root.join(source);
        if path.exists() {
            list(&path, &mut files).with_context(|| format!("list the files of {}", path.display()))?;
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let content = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file);
        // The lengths keep a byte from wandering between a name and a content without a change of the digest.
        hash.update(format!("{} {} {}\n", name.as_os_str().len(), name.display(), content.len()));
        hash.update(content);
    }
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

/// Builds it and returns its path.
pub fn build(root: &Path, target: &StaticTarget, build_id: &str) -> Result<PathBuf> {
    command::run(
        target
            .cargo(root, "build")
            .args(["--release", "--package", "newroot", "--bin", "newroot"])
            .env("NEWROOT_BUILD", build_id),
    )?;
    let newroot = root.join("target").join(&target.triple).join("release/newroot");
    let binary = fs::read(&newroot).with_context(|| format!("read {}", newroot.display()))?;
    if let Some(loader) = interpreter(&binary).with_context(|| newroot.display().to_string())? {
        bail!("{} is not static: it wants {loader}, which a learner's machine has not", newroot.display());
    }
    let megabytes = binary.len() as f64 / 1e6;
    println!("server: {}, {megabytes:.1} MB, statically linked, build {build_id}", newroot.display());
    Ok(newroot)
}

/// The program that the kernel would load a dynamically linked ELF file with (PT_INTERP, elf(5)); none for a static one.
pub fn interpreter(binary: &[u8]) -> Result<Option<String>> {
    // All fields are little-endian: there is no big-endian machine among our targets.
    let number = |place: u64, size: usize| -> Option<u64> {
        let start = usize::try_from(place).ok()?;
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(binary.get(start..start.checked_add(size)?)?);
        Some(u64::from_le_bytes(bytes))
    };
    let read = || -> Option<Option<String>> {
        let (headers, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        for index in 0..count {
            let header = headers.checked_add(size * index)?;
            if number(header, 4)? == PT_INTERP {
                let start = usize::try_from(number(header + 8, 8)?).ok()?;
                let length = usize::try_from(number(header + 32, 8)?).ok()?;
                let name = binary.get(start..start.checked_add(length)?)?;
                return Some(Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()));
            }
        }
        Some(None)
    };
    if !binary.starts_with(b"\x7fELF\x02\x01") {
        bail!("this is no 64-bit little-endian ELF file");
    }
    read().context("the ELF file is cut short")
}

const PT_INTERP: u64 = 3;

/// Adds all files below a path. Tests, installed npm packages and dot files do not get into the binary.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in path.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        if name != "tests" && name != "node_modules" && !name.to_string_lossy().starts_with('.') {
            list(&entry.path(), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_named_by_what_gets_into_it() {
        let root = std::env::temp_dir().join(format!("newroot-build-id-{}", std::process::id()));
        let put = |name: &str, text: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
            fs::write(path, text).expect("write the file");
            build_id(&root).expect("name the build")
        };
        let first = put("web/style/page.css", "a");
        assert_eq!(put("web/style/page.css", "a"), first, "written anew, but the same");
        assert_eq!(put("web/tests/page.test.mjs", "b"), first);
        assert_eq!(put("web/node_modules/a/index.js", "c"), first);
        assert_eq!(put("README.md", "d"), first);
        let second = put("web/style/page.css", "b");
        let third = put("lessons/01-a/lesson.md", "e");
        fs::remove_dir_all(&root).expect("remove the folder");
        assert!(first != second && second != third && third != first);
    }

    #[test]
    fn tells_a_static_program_from_a_dynamic_one() {
        let busybox = fs::read(crate::image::find_busybox().expect("setup installs it")).expect("read busybox");
        assert_eq!(interpreter(&busybox).expect("busybox is ELF"), None);
        let itself = fs::read("/proc/self/exe").expect("read this test");
        assert!(interpreter(&itself).expect("this test is ELF").is_some_and(|loader| loader.contains("/ld-linux")));
        assert!(interpreter(&itself[..60]).is_err(), "a file cut short is no static one");
        assert!(interpreter(b"#!/bin/sh\n").is_err());
    }
}
