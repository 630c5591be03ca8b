//! Which images there are without any registry, and what becomes of those that are no longer wanted. Works on the files
//! alone, so that it can be done beside a running server.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use super::content::Content;
use super::embedded;
use super::error::StoreError;
use super::manifest::{MANIFEST_LIMIT, References};
use super::name::{Digest, ManifestReference, RepositoryName, Tag};
use super::room::remove_unless_read;
use super::store::{cache_directory, imported_directory};

/// An image that is here.
pub struct Inventoried {
    /// Its name in the short form, with its tag: `alpine:3.20`.
    pub name: String,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// How many bytes of it are here. Images share layers: each counts them.
    pub size: u64,
    /// Where it is.
    pub place: Place,
    /// When it was last asked for, to the minute; `None` for one in the binary.
    pub used: Option<SystemTime>,
}

/// Where an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this binary.
    Embedded,
    /// Imported: it stays until it is pruned.
    Imported,
    /// In the mirror's cache: it goes when others need the room.
    Cached,
}

/// The images below a state directory and in this binary, by place, then by name.
pub fn list(state: &Path) -> Vec<Inventoried> {
    let embedded = embedded::names().into_iter().filter_map(|name| {
        let latest: Tag = "latest".parse().ok()?;
        let manifest = embedded::manifest(&name, &ManifestReference::Tag(latest.clone()))?;
        let blobs = References::of(&manifest.bytes)?;
        let blobs: u64 = blobs.blobs().map(|blob| blob.size).sum();
        let size = manifest.bytes.len() as u64 + blobs;
        Some(Inventoried {
            name: full(&name, &latest),
            digest: manifest.digest,
            size,
            place: Place::Embedded,
            used: None,
        })
    });
    let mut images: Vec<_> = embedded.collect();
    for (place, directory) in [(Place::Imported, imported_directory(state)), (Place::Cached, cache_directory(state))] {
        let content = Content::at(directory);
        images.extend(content.all_tags().into_iter().filter_map(|(name, tag, digest)| {
            let used = fs::metadata(content.path(&digest)).ok()?.accessed().ok();
            let size = content
                .reach(&digest)
                .iter()
                .filter_map(|blob| Some(fs::metadata(content.path(blob)).ok()?.len()))
                .sum();
            Some(Inventoried { name: full(&name, &tag), digest, size, place, used })
        }));
    }
    images
}

/// The names of the images that can be pulled without any registry.
pub fn names(imported: &Content, cache: &Content) -> Vec<String> {
    let mut names: Vec<_> = embedded::names().iter().map(|name| name.short().to_owned()).collect();
    for content in [imported, cache] {
        let whole = content.all_tags().into_iter().filter(|(_, _, digest)| content.is_whole(digest));
        names.extend(whole.map(|(name, tag, _)| full(&name, &tag).trim_end_matches(":latest").to_owned()));
    }
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// Removes what is cached, and with `all` what was imported, too; what is just being read stays. Returns how many bytes
/// are free now. A running server is not in the way: it looks into the directory each time, and fetches what is gone.
pub fn prune(state: &Path, all: bool) -> Result<u64, StoreError> {
    let mut freed = Content::at(cache_directory(state)).evict(u64::MAX)?;
    let imported = Content::at(imported_directory(state));
    if all && imported.blobs().is_dir() {
        let _lock = lock(&imported)?;
        for (name, tag, _) in imported.all_tags() {
            imported.remove_tag(&name, &tag)?;
        }
        freed += imported.evict(u64::MAX)?;
    }
    Ok(freed)
}

/// Waits until no other process adds or removes images here, and keeps them from it as long as the file is open.
pub fn lock(content: &Content) -> Result<File, StoreError> {
    let path = content.blobs();
    let locked = File::open(&path).and_then(|file| {
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    });
    locked.map_err(|source| StoreError::Read { path, source })
}

impl Content {
    /// Removes the blobs that no tag leads to, unless they are being read.
    pub fn collect(&self) -> Result<(), StoreError> {
        let wanted: HashSet<String> = self
            .all_tags()
            .iter()
            .flat_map(|(_, _, digest)| self.reach(digest))
            .map(|digest| digest.hex().to_owned())
            .collect();
        let directory = self.blobs();
        let failed = |source| StoreError::Read { path: directory.clone(), source };
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
                remove_unless_read(&entry.path())?;
            }
        }
        Ok(())
    }

    /// All that belongs to an image and is here, beginning with its manifest or index.
    fn reach(&self, image: &Digest) -> HashSet<Digest> {
        let mut found = HashSet::new();
        let mut manifests = vec![image.clone()];
        while let Some(digest) = manifests.pop() {
            // Each is read once, so a circle, if there could be one, has an end.
            if !self.has(&digest) || !found.insert(digest.clone()) {
                continue;
            }
            let Some(references) = self.references(&digest) else { continue };
            manifests.extend(references.manifests.iter().filter_map(|child| child.digest.parse().ok()));
            let blobs = references.blobs().filter_map(|blob| blob.digest.parse().ok());
            found.extend(blobs.filter(|blob| self.has(blob)));
        }
        found
    }

    /// Whether all of an image is here; of an index, one of its images.
    pub fn is_whole(&self, image: &Digest) -> bool {
        let Some(references) = self.references(image) else { return false };
        let has = |digest: &str| digest.parse().is_ok_and(|digest| self.has(&digest));
        match references.manifests.as_slice() {
            [] => references.blobs().all(|blob| has(&blob.digest)),
            children => children.iter().filter_map(|child| child.digest.parse().ok()).any(|child| {
                let references = self.references(&child);
                references.is_some_and(|references| references.blobs().all(|blob| has(&blob.digest)))
            }),
        }
    }

    fn references(&self, digest: &Digest) -> Option<References> {
        let mut bytes = Vec::new();
        File::open(self.path(digest)).ok()?.take(MANIFEST_LIMIT).read_to_end(&mut bytes).ok()?;
        References::of(&bytes)
    }
}

fn full(name: &RepositoryName, tag: &Tag) -> String {
    format!("{}:{}", name.short(), tag.as_str())
}
