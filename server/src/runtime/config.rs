//! What an image says about how to run it: the part of its configuration that a container takes on (OCI image
//! specification, config.md). `pull` keeps it beside the rootfs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::RunError;

/// How an image wants to be run. All of it may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    env: Option<Vec<String>>,
    working_dir: Option<PathBuf>,
    user: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
}

/// The whole document: what the image was made for and from is beside it.
#[derive(Deserialize)]
struct Document {
    config: Option<Config>,
}

impl Config {
    /// Reads the file that `pull` has kept. An image of a former `pull` has none: then it wants nothing.
    pub fn read(path: &Path) -> Result<Config, RunError> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Config::default()),
            result => result.map_err(|source| RunError::ReadConfig { path: path.to_owned(), source })?,
        };
        let document: Document =
            serde_json::from_slice(&text).map_err(|source| RunError::BadConfig { path: path.to_owned(), source })?;
        Ok(document.config.unwrap_or_default())
    }

    /// The environment, as names and values.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        // An empty name cannot be set, and a zero byte would end the variable early.
        let honest = |(name, value): &(&str, &str)| !name.is_empty() && !name.contains('\0') && !value.contains('\0');
        self.env.iter().flatten().filter_map(|variable| variable.split_once('=')).filter(honest)
    }

    /// Where the command starts.
    pub fn working_directory(&self) -> &Path {
        match &self.working_dir {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("/"),
        }
    }

    /// As whom the command runs: `USER` or `USER:GROUP`, each a name or a number. Empty where the image leaves it to root.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }

    /// The command for whoever names none: the entry point, and the arguments it has by default.
    pub fn command(&self) -> impl Iterator<Item = &String> {
        self.entrypoint.iter().flatten().chain(self.cmd.iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_configuration_is_certain() {
        for text in ["{}", r#"{"config":null}"#, r#"{"config":{"Env":null,"Cmd":null,"User":null}}"#] {
            let config = serde_json::from_str::<Document>(text).expect(text).config.unwrap_or_default();
            assert_eq!((config.user(), config.working_directory()), ("", Path::new("/")));
            assert_eq!(config.command().count() + config.environment().count(), 0);
        }
        assert_eq!(Config::read(Path::new("/nonexistent")).expect("no file is fine"), Config::default());
        let config: Config = serde_json::from_str(r#"{"Env":["A=b=c","=x","none"]}"#).expect("JSON");
        assert_eq!(config.environment().collect::<Vec<_>>(), [("A", "b=c")]);
    }
}
