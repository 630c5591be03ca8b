//! Passwords for registries, from where `docker login` keeps them: Docker's config.json, or a program of its own for it (a
//! credential helper), which the file names. They are only read here; what they open is in `pull`.

mod helper;

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use self::helper::ask_helper;
use super::printable::printable;

/// A user's name and password. It cannot be printed by mistake: there is no Debug.
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password, or what a registry gives out in its place.
    pub password: String,
}

/// Why the credentials were not found, although there may be some.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CredentialsError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not as Docker writes it")]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("the login for {registry} in {path} is neither a name and a password nor their base64; log in again")]
    Login { registry: String, path: PathBuf },
    #[error("the login for {registry} is an identity token, which Newroot cannot use; log in with a password")]
    IdentityToken { registry: String },
    #[error(
        "cannot run {helper}, which Docker's config.json names; install it, or log in again",
        helper = printable(.helper)
    )]
    RunHelper { helper: String, source: io::Error },
    #[error(
        "{helper} has no password for {registry}: {message}",
        helper = printable(.helper), message = printable(.message)
    )]
    Helper { helper: String, registry: String, message: String },
    #[error("{helper} does not answer as a credential helper does", helper = printable(.helper))]
    HelperAnswer { helper: String, source: serde_json::Error },
}

/// The credentials for a registry (`HOST` or `HOST:PORT`), if there are any.
pub fn find(registry: &str) -> Result<Option<Credentials>, CredentialsError> {
    let Some(path) = config_path() else { return Ok(None) };
    let text = match fs::read(&path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        result => result.map_err(|source| CredentialsError::Read { path: path.clone(), source })?,
    };
    let config: Config =
        serde_json::from_slice(&text).map_err(|source| CredentialsError::Parse { path: path.clone(), source })?;
    let name = if registry == "docker.io" { DOCKER_HUB } else { registry };
    // A helper for this one registry, else the one for all, else the file itself: Docker's own order.
    let helper = entry_for(&config.cred_helpers, name).or(config.creds_store.as_ref());
    if let Some(helper) = helper.filter(|helper| !helper.is_empty())
        && let Some(found) = ask_helper(helper, name)?
    {
        return Ok(Some(found));
    }
    match entry_for(&config.auths, name) {
        Some(login) => login.credentials(registry, path),
        None => Ok(None),
    }
}

/// What Docker Hub is called in the file, for historical reasons.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Docker's configuration: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
fn config_path() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker"))).map(|directory| directory.join("config.json"))
}

/// The part of the file that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Config {
    auths: HashMap<String, Login>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

/// What the file has for one registry. Where a helper has the password, all of it is missing.
#[derive(Deserialize)]
struct Login {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Login {
    fn credentials(&self, registry: &str, path: PathBuf) -> Result<Option<Credentials>, CredentialsError> {
        let registry = registry.to_owned();
        if self.identitytoken.as_ref().is_some_and(|token| !token.is_empty()) {
            return Err(CredentialsError::IdentityToken { registry });
        }
        let pair = match (self.auth.as_deref().unwrap_or_default(), &self.username, &self.password) {
            ("", Some(user), Some(password)) => Some((user.clone(), password.clone())),
            ("", None, None) => return Ok(None),
            (auth, ..) => STANDARD.decode(auth).ok().and_then(|bytes| {
                // A password may have colons, a name has none.
                let text = String::from_utf8(bytes).ok()?;
                text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
            }),
        };
        match pair {
            Some((user, password)) => Ok(Some(Credentials { user, password })),
            None => Err(CredentialsError::Login { registry, path }),
        }
    }
}

/// What a table has for a registry. Its keys may be addresses: `https://registry.example/v1/`.
fn entry_for<'a, T>(table: &'a HashMap<String, T>, registry: &str) -> Option<&'a T> {
    table.get(registry).or_else(|| table.iter().find(|(key, _)| host_of(key) == host_of(registry)).map(|(_, v)| v))
}

fn host_of(address: &str) -> &str {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    host.split_once('/').map_or(host, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_found_under_its_name_or_an_address_of_it() {
        let table: HashMap<String, u8> =
            [("https://index.docker.io/v1/", 1), ("registry.example:5000", 2), ("http://old.example/v2/", 3)]
                .map(|(key, value)| (key.to_owned(), value))
                .into();
        assert_eq!(entry_for(&table, DOCKER_HUB), Some(&1));
        assert_eq!(entry_for(&table, "registry.example:5000"), Some(&2));
        assert_eq!(entry_for(&table, "old.example"), Some(&3));
        assert_eq!(entry_for(&table, "registry.example"), None, "another port is another registry");
    }

    #[test]
    fn a_login_is_a_name_and_a_password_or_an_error() {
        let found = |json: &str| {
            let login: Login = serde_json::from_str(json).expect(json);
            login.credentials("r", PathBuf::new()).map(|found| found.map(|pair| (pair.user, pair.password)))
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(found(r#"{"auth":"YTpiOmM="}"#).expect("a pair"), pair("a", "b:c"));
        assert_eq!(found(r#"{"username":"a","password":"b"}"#).expect("a pair"), pair("a", "b"));
        assert_eq!(found("{}").expect("a helper has it"), None);
        assert!(matches!(found(r#"{"auth":"YWJj"}"#), Err(CredentialsError::Login { .. })), "no colon");
        assert!(matches!(found(r#"{"auth":"?"}"#), Err(CredentialsError::Login { .. })));
        assert!(matches!(found(r#"{"identitytoken":"t"}"#), Err(CredentialsError::IdentityToken { .. })));
    }
}
