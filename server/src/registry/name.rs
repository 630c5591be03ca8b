//! The names of the distribution protocol, each a type that holds only valid text. They become paths on disk and parts
//! of URLs, so what is valid here is what is safe there.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::error::StoreError;

/// The name of a repository: `library/alpine` (distribution specification, "Pulling manifests").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepositoryName(String);

/// The name of a manifest within its repository: `latest`, `3.20`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

/// The SHA-256 of some content, by which it is named: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest(String);

/// What a client asks a manifest by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestReference {
    /// Whatever has this tag now.
    Tag(Tag),
    /// This very manifest.
    Digest(Digest),
}

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<RepositoryName, StoreError> {
        // Lowercase letters and digits, with separators only between them: so no part is `.` or `..`, or hidden.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let part = |part: &str| {
            part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || "._-".contains(c))
        };
        match text.len() <= 255 && text.split('/').all(part) {
            true => Ok(RepositoryName(text.to_owned())),
            false => Err(StoreError::NameInvalid),
        }
    }
}

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Tag, StoreError> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || ".-".contains(c)) {
            true => Ok(Tag(text.to_owned())),
            false => Err(StoreError::ManifestUnknown),
        }
    }
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        use fmt::Write;
        let mut text = String::from("sha256:");
        for byte in Sha256::digest(bytes) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text)
    }

    /// The digest as text, with `sha256:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hexadecimal digits alone.
    pub fn hex(&self) -> &str {
        self.0.trim_start_matches("sha256:")
    }
}

impl FromStr for Digest {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Digest, StoreError> {
        let hex = text.strip_prefix("sha256:").ok_or(StoreError::DigestInvalid)?;
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        match hex.len() == 64 && hex.chars().all(is_hex) {
            true => Ok(Digest(text.to_owned())),
            false => Err(StoreError::DigestInvalid),
        }
    }
}

impl FromStr for ManifestReference {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<ManifestReference, StoreError> {
        match text.contains(':') {
            true => text.parse().map(ManifestReference::Digest),
            false => text.parse().map(ManifestReference::Tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_paths() {
        for text in ["alpine", "library/alpine", "a/b/c", "a.b_c--d/e1"] {
            assert!(text.parse::<RepositoryName>().is_ok(), "{text}");
        }
        for text in
            ["", "/", "..", "a/..", "../a", "a//b", "/a", "a/", "A", "a/.b", "a%2fb", "a b", "a\0", &"a".repeat(256)]
        {
            assert!(text.parse::<RepositoryName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_reference_is_a_tag_or_a_digest() {
        assert!(matches!("3.20".parse(), Ok(ManifestReference::Tag(_))));
        let digest = Digest::of(b"");
        assert_eq!(digest.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(matches!(digest.as_str().parse(), Ok(ManifestReference::Digest(_))));
        for text in ["", ".", "..", "a/b", "-a", "sha256:", "sha256:../../etc/passwd", "sha512:00", &"a".repeat(129)] {
            assert!(text.parse::<ManifestReference>().is_err(), "{text:?}");
        }
    }
}
