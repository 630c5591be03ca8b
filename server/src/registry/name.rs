//! The names of the distribution protocol, each a type that holds only valid text. They become paths on disk and parts
//! of URLs, so what is valid here is what is safe there.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::error::StoreError;

/// The name of a repository (distribution specification, "Pulling manifests"), in one form: `library/alpine` for each
/// of `alpine`, `library/alpine` and `docker.io/library/alpine`; with the host first where it is another registry's:
/// `registry.example:5000/team/app`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepositoryName(String);

/// The name of a manifest within its repository: `latest`, `3.20`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// The registry that the name begins with. As in Docker, a first part is one if it could be the name of a machine
    /// (`ghcr.io`, `localhost`) or has a port.
    pub fn host(&self) -> Option<&str> {
        let (first, _) = self.0.split_once('/')?;
        (first == "localhost" || first.contains(['.', ':'])).then_some(first)
    }

    /// What its own registry calls it.
    pub fn repository(&self) -> &str {
        match self.host() {
            Some(host) => &self.0[host.len() + 1..],
            None => &self.0,
        }
    }

    /// What people call it: `alpine`.
    pub fn short(&self) -> &str {
        self.0.strip_prefix("library/").unwrap_or(&self.0)
    }
}

impl FromStr for RepositoryName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<RepositoryName, StoreError> {
        let text = text.strip_prefix("docker.io/").unwrap_or(text);
        // Lowercase letters and digits, with separators only between them: so no part is `.` or `..`, or hidden.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let part = |part: &str| {
            part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || "._-".contains(c))
        };
        let Some((first, rest)) = text.split_once('/') else {
            return match text.len() <= 255 && part(text) {
                true => Ok(RepositoryName(format!("library/{text}"))),
                false => Err(StoreError::NameInvalid),
            };
        };
        // Only a host has a port.
        let host = match first.split_once(':') {
            Some((host, port)) if !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()) => host,
            _ => first,
        };
        match text.len() <= 255 && part(host) && rest.split('/').all(part) {
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
        Digest::finish(Sha256::new_with_prefix(bytes))
    }

    /// The digest of all that is left to be read.
    pub fn of_all(mut source: impl Read) -> io::Result<Digest> {
        let mut sha256 = Sha256::new();
        let mut piece = vec![0; 256 << 10];
        loop {
            match source.read(&mut piece)? {
                0 => return Ok(Digest::finish(sha256)),
                count => sha256.update(&piece[..count]),
            }
        }
    }

    /// The digest of what has gone into a hash.
    pub fn finish(sha256: Sha256) -> Digest {
        use fmt::Write;
        let mut text = String::from("sha256:");
        for byte in sha256.finalize() {
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

impl fmt::Display for ManifestReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManifestReference::Tag(tag) => write!(formatter, ":{}", tag.as_str()),
            ManifestReference::Digest(digest) => write!(formatter, "@{}", digest.as_str()),
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
        for text in [":latest/a", "a:/b", "a:b/c", "a:5000", "a/b:5000", "docker.io/", "a:1:2/b"] {
            assert!(text.parse::<RepositoryName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_has_one_form_and_tells_its_registry() {
        let name = |text: &str| text.parse::<RepositoryName>().expect(text);
        for text in ["alpine", "library/alpine", "docker.io/library/alpine", "docker.io/alpine"] {
            let name = name(text);
            assert_eq!((name.as_str(), name.host(), name.short()), ("library/alpine", None, "alpine"));
        }
        let parts = |text: &str| {
            let name = name(text);
            (name.host().map(str::to_owned), name.repository().to_owned())
        };
        assert_eq!(parts("team/app"), (None, "team/app".to_owned()));
        assert_eq!(parts("ghcr.io/team/app"), (Some("ghcr.io".to_owned()), "team/app".to_owned()));
        assert_eq!(parts("a:5000/app"), (Some("a:5000".to_owned()), "app".to_owned()));
        assert_eq!(parts("localhost/app"), (Some("localhost".to_owned()), "app".to_owned()));
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
