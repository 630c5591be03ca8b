//! Learners: the secret that makes one, and the server's key that tells its own secrets from all others.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::defence::{Defence, Defences};
use crate::lab::LabId;

/// Somebody with a browser: 128 random bits. Whoever has them has the lab.
#[derive(Clone, PartialEq, Eq)]
pub struct Learner(String);

impl Learner {
    /// A new learner. Errors where the kernel has no random numbers.
    pub fn new() -> Result<Learner, getrandom::Error> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        Ok(Learner(LabId(secret).to_string()))
    }

    /// The learner who brings this secret; `None` where it cannot be one of ours.
    fn from_secret(secret: &str) -> Option<Learner> {
        secret.parse::<LabId>().ok().map(|_well_formed| Learner(secret.to_owned()))
    }

    /// Their lab. Derived, so that a restarted server knows whose lab is whose; one-way, so that the id in a path or a
    /// log does not open the lab.
    pub fn lab(&self) -> LabId {
        let digest = Sha256::digest(self.0.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        LabId(id)
    }
}

/// Knows the server's own learners by a key that nobody else has. Anybody can think of a secret, but not of its tag.
#[derive(Clone)]
pub struct Learners {
    /// What a tag is made with (RFC 2104).
    keyed: Hmac<Sha256>,
    defences: Defences,
}

/// The bytes of a key: as many as the tag has, and more would add nothing.
const KEY: usize = 32;
/// The key's file, in the directory of the server's state.
const FILE: &str = "cookie-key";
/// What the tags of the key are for; another purpose would have another word.
const PURPOSE: &[u8] = b"newroot learner\0";

/// The server's key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or made.
    #[error("cannot read or make the key of learners' cookies in {path}: {cause}")]
    File {
        /// Its file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is something else.
    #[error("{path} has {length} bytes and is no key: remove it, and everybody who is here becomes somebody new")]
    Length {
        /// The file.
        path: PathBuf,
        /// How long it is.
        length: usize,
    },
}

impl Learners {
    /// With the key in this directory, which is made where there is none. Whoever has it can be anybody, so it is for its
    /// owner alone.
    pub fn open(state: &Path, defences: Defences) -> Result<Learners, KeyError> {
        let path = state.join(FILE);
        let failed = |cause| KeyError::File { path: path.clone(), cause };
        let key = match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(state, &path).map_err(failed)?;
                // Another server on the same directory may have been first.
                read(&path)
            }
            key => key,
        };
        let key = key.map_err(failed)?;
        match Hmac::new_from_slice(&key) {
            Ok(keyed) if key.len() == KEY => Ok(Learners { keyed, defences }),
            _ => Err(KeyError::Length { path, length: key.len() }),
        }
    }

    /// What the learner's browser keeps: the secret, and the tag that shows that it is ours.
    pub fn cookie(&self, learner: &Learner) -> String {
        format!("{}.{}", learner.0, hex(&self.tag(learner).finalize().into_bytes()))
    }

    /// The learner who brings this cookie; `None` where it is not one of ours.
    pub fn recognise(&self, cookie: &str) -> Option<Learner> {
        if !self.defences.stand(Defence::SignedCookies) {
            return Learner::from_secret(cookie.split('.').next()?);
        }
        let (secret, tag) = cookie.split_once('.')?;
        let learner = Learner::from_secret(secret)?;
        // In the same time wherever they differ, so that nobody finds a tag byte by byte.
        self.tag(&learner).verify_slice(&from_hex(tag)?).ok().map(|()| learner)
    }

    fn tag(&self, learner: &Learner) -> Hmac<Sha256> {
        self.keyed.clone().chain_update(PURPOSE).chain_update(learner.0.as_bytes())
    }
}

/// What is in the key's file, which others cannot read from now on.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!("{} was open to others, who may have read it; remove it to have a new one", path.display());
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    let mut key = Vec::new();
    file.take(KEY as u64 + 1).read_to_end(&mut key)?;
    Ok(key)
}

/// Makes the key's file, whole or not at all, and leaves one that is there as it is.
fn make(state: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY];
    getrandom::fill(&mut key)?;
    fs::create_dir_all(state)?;
    // With mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(state)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
mod tests {
    use super::*;

    fn open(state: &Path) -> Learners {
        Learners::open(state, Defences::default()).expect("a key")
    }

    #[test]
    fn a_cookie_is_known_by_its_own_server_however_often_it_is_restarted() {
        let (state, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let learner = Learner::new().unwrap();
        let cookie = open(state.path()).cookie(&learner);
        assert!(open(state.path()).recognise(&cookie).is_some_and(|known| known.lab() == learner.lab()));
        assert!(open(other.path()).recognise(&cookie).is_none());
        let mode = fs::metadata(state.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn no_other_cookie_is_a_learner() {
        let state = tempfile::tempdir().unwrap();
        let learners = open(state.path());
        let (one, two) = (Learner::new().unwrap(), Learner::new().unwrap());
        let (cookie, tag) = (learners.cookie(&one), hex(&learners.tag(&two).finalize().into_bytes()));
        let secret = &one.0;
        let mut wrong = vec![
            String::new(),
            ".".to_owned(),
            secret.clone(),
            format!("{secret}."),
            format!("{secret}.{tag}"),
            format!("{cookie}00"),
            format!(" {cookie}"),
            format!("{}.{}", secret.to_uppercase(), &cookie[33..]),
            format!(".{cookie}"),
            cookie[..cookie.len() - 2].to_owned(),
        ];
        for place in (0..cookie.len()).filter(|place| *place != 32) {
            let other = if &cookie[place..=place] == "0" { "1" } else { "0" };
            wrong.push(format!("{}{other}{}", &cookie[..place], &cookie[place + 1..]));
        }
        for wrong in wrong {
            assert!(learners.recognise(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_not_used_and_one_that_others_could_read_is_closed() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        for length in [0, 31, 33, 5000] {
            fs::write(&path, vec![7; length]).unwrap();
            let error = Learners::open(state.path(), Defences::default()).err().expect("no key").to_string();
            assert!(error.contains("is no key: remove it"), "{error}");
        }
        fs::write(&path, [7; KEY]).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        open(state.path());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
