//! OCI image layouts (image specification, "Image Layout"): `index.json`, and whatever it leads to in `blobs/sha256/`.

use std::collections::HashSet;

use super::super::content::Content;
use super::super::manifest::{Descriptor, MANIFEST_LIMIT, References};
use super::super::name::Digest;
use super::source::Source;
use super::{Found, ImportError, keep};

/// How deep indexes may be within each other; real ones are one deep.
const MOST_DEPTH: usize = 3;

/// The annotations that name an image: containerd's, with the whole name, and OCI's, which may be a mere tag.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Keeps the images of a layout; `None` if it is none. Images of several platforms are kept with their index.
pub fn import(source: &Source, content: &Content) -> Result<Option<Vec<Found>>, ImportError> {
    const INDEX: &str = "index.json";
    let Some(index) = source.bytes(INDEX, MANIFEST_LIMIT)? else { return Ok(None) };
    let index = References::of(&index).ok_or_else(|| ImportError::Json { name: INDEX.to_owned() })?;
    let mut reader = Reader { source, content, done: HashSet::new() };
    let mut found: Vec<Found> = Vec::new();
    for descriptor in &index.manifests {
        let digest = reader.manifest(descriptor, 0)?;
        let name = NAMES.iter().find_map(|key| descriptor.annotations.get(*key)).cloned();
        // The same image under a second name has a line of its own.
        match found.iter_mut().find(|found| found.digest == digest) {
            Some(found) => found.names.extend(name),
            None => found.push(Found { digest, names: name.into_iter().collect() }),
        }
    }
    Ok(Some(found).filter(|found| !found.is_empty()))
}

struct Reader<'a> {
    source: &'a Source,
    content: &'a Content,
    done: HashSet<Digest>,
}

impl Reader<'_> {
    /// Keeps a manifest with its blobs, or an index with its manifests.
    fn manifest(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Digest, ImportError> {
        let (digest, name) = place(descriptor)?;
        if self.done.contains(&digest) {
            return Ok(digest);
        }
        if depth > MOST_DEPTH {
            return Err(ImportError::Nested { limit: MOST_DEPTH });
        }
        let bytes = self.source.bytes(&name, MANIFEST_LIMIT)?;
        let bytes = bytes.ok_or_else(|| ImportError::Missing { name: name.clone() })?;
        let actual = Digest::of(&bytes);
        if actual != digest {
            return Err(ImportError::Digest { name, digest, actual });
        }
        let references = References::of(&bytes).ok_or(ImportError::Json { name })?;
        for blob in references.blobs() {
            self.blob(blob)?;
        }
        let mut missing = None;
        let mut there = references.manifests.is_empty();
        for child in &references.manifests {
            match self.manifest(child, depth + 1) {
                Ok(_) => there = true,
                // `docker save` lists all platforms, and has the one that was pulled.
                Err(error @ ImportError::Missing { .. }) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = missing.filter(|_| !there) {
            return Err(error);
        }
        self.content.keep_bytes(&bytes)?;
        self.done.insert(digest.clone());
        Ok(digest)
    }

    fn blob(&mut self, descriptor: &Descriptor) -> Result<(), ImportError> {
        let (digest, name) = place(descriptor)?;
        if self.done.contains(&digest) {
            return Ok(());
        }
        let part = self.source.part(&name)?.ok_or_else(|| ImportError::Missing { name: name.clone() })?;
        keep(self.content, &name, part, &digest)?;
        self.done.insert(digest);
        Ok(())
    }
}

/// A descriptor's digest, and the name of its file. Only a digest that is one becomes a name.
fn place(descriptor: &Descriptor) -> Result<(Digest, String), ImportError> {
    let digest: Digest =
        descriptor.digest.parse().map_err(|_| ImportError::Json { name: descriptor.digest.clone() })?;
    let name = format!("blobs/sha256/{}", digest.hex());
    Ok((digest, name))
}
