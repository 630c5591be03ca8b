//! Takes images from files: OCI image layouts and `docker save` archives. What they say of themselves is believed only
//! after its digest has been computed.

mod docker;
mod error;
mod layout;
mod source;

use std::path::Path;

use oci_client::Reference;

use self::source::{Part, Source};
use super::content::Content;
use super::inventory::lock;
use super::name::{Digest, RepositoryName, Tag};
use super::store::imported_directory;
pub use error::ImportError;

/// An image that was imported.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its name, with its tag: `alpine:3.20`.
    pub name: String,
    /// The digest of its manifest or index.
    pub digest: Digest,
}

/// An image that was found in a source, and is kept.
struct Found {
    digest: Digest,
    /// The names it comes with: whole ones, or mere tags.
    names: Vec<String>,
}

/// Imports the images of an OCI image layout (a directory, or an archive of one) or of a `docker save` archive, either of
/// them in gzip or not. They are kept below a state directory, under their own names or under `name`. All are there
/// afterwards, or none.
pub fn import(state: &Path, path: &Path, name: Option<&str>) -> Result<Vec<Imported>, ImportError> {
    let content = Content::open(imported_directory(state))?;
    let _lock = lock(&content)?;
    let imported = import_into(&content, path, name);
    // What came of a failed import goes again, and so does what only a replaced image had.
    content.collect()?;
    imported
}

fn import_into(content: &Content, path: &Path, name: Option<&str>) -> Result<Vec<Imported>, ImportError> {
    let source = Source::open(path, content)?;
    // Recent `docker save` archives are both; the layout says more.
    let found = match (layout::import(&source, content)?, docker::is_archive(&source)) {
        (Some(found), _) => found,
        (None, true) => docker::import(&source, content)?,
        (None, false) => return Err(ImportError::NoImage { path: path.to_owned() }),
    };
    let named = names(path, &found, name)?;
    for (name, tag, digest) in &named {
        content.set_tag(name, tag, digest)?;
    }
    Ok(named
        .into_iter()
        .map(|(name, tag, digest)| Imported { name: format!("{}:{}", name.short(), tag.as_str()), digest })
        .collect())
}

/// The names that images get: the wanted one, or else their own.
fn names(
    path: &Path,
    found: &[Found],
    wanted: Option<&str>,
) -> Result<Vec<(RepositoryName, Tag, Digest)>, ImportError> {
    let mut named = Vec::new();
    for image in found {
        let names = match (wanted, found.len()) {
            (Some(name), 1) => vec![name.to_owned()],
            (Some(_), _) => return Err(ImportError::Several { path: path.to_owned(), count: found.len() }),
            // A mere tag is the name of nothing.
            (None, _) => image.names.iter().filter(|name| name.contains([':', '/'])).cloned().collect(),
        };
        if names.is_empty() {
            return Err(ImportError::NoName { path: path.to_owned() });
        }
        for text in names {
            let (name, tag) = parse(&text)?;
            named.push((name, tag, image.digest.clone()));
        }
    }
    Ok(named)
}

/// A name as people write it.
fn parse(text: &str) -> Result<(RepositoryName, Tag), ImportError> {
    let invalid = || ImportError::Name { name: text.to_owned() };
    let reference: Reference = text.parse().map_err(|_| invalid())?;
    let repository = match reference.registry() {
        "docker.io" => reference.repository().to_owned(),
        host => format!("{host}/{}", reference.repository()),
    };
    match reference.digest() {
        Some(_) => Err(invalid()),
        None => Ok((
            repository.parse().map_err(|_| invalid())?,
            reference.tag().unwrap_or("latest").parse().map_err(|_| invalid())?,
        )),
    }
}

/// Keeps a part of a source under its digest, if that is what it has.
fn keep(content: &Content, name: &str, mut part: Part, digest: &Digest) -> Result<(), ImportError> {
    // What is here already and whole is not written again.
    if content.blob(digest)?.is_some() {
        return Ok(());
    }
    let mut blob = content.new_blob()?;
    let actual = {
        let mut copy = source::Copy::new(&mut part, blob.as_file_mut());
        Digest::of_all(&mut copy).map_err(|source| ImportError::Copy { name: name.to_owned(), source })?
    };
    if actual != *digest {
        return Err(ImportError::Digest { name: name.to_owned(), digest: digest.clone(), actual });
    }
    Ok(content.keep(blob, digest)?)
}
