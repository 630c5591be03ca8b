//! Credential helpers: programs that keep passwords for Docker, and how one of them is asked.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use super::super::printable::printable_lines;
use super::{Credentials, CredentialsError, host_of};

/// Asks `docker-credential-NAME get` for a registry, whose name goes to its standard input.
pub fn ask_helper(name: &str, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
    let helper = format!("docker-credential-{name}");
    let output =
        run(&helper, registry).map_err(|source| CredentialsError::RunHelper { helper: helper.clone(), source })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // The protocol has no other sign for it than this sentence.
        if message == "credentials not found in native keychain" {
            return Ok(None);
        }
        return Err(CredentialsError::Helper { helper, registry: host_of(registry).to_owned(), message });
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|source| CredentialsError::HelperAnswer { helper, source })?;
    if answer.username == "<token>" {
        return Err(CredentialsError::IdentityToken { registry: host_of(registry).to_owned() });
    }
    Ok(Some(Credentials { user: answer.username, password: answer.secret }))
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

fn run(helper: &str, registry: &str) -> io::Result<Output> {
    let mut process =
        Command::new(helper).arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut input) = process.stdin.take() {
        match input.write_all(registry.as_bytes()) {
            // It may have answered without reading.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let output = process.wait_with_output()?;
    // What it says beside its answer is for the user, though not for the terminal.
    eprint!("{}", printable_lines(String::from_utf8_lossy(&output.stderr)));
    Ok(output)
}
