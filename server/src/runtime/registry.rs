//! Which registry is asked, and over which protocol. What is asked is in `pull`.

use std::net::IpAddr;
use std::str::FromStr;

/// A registry's address: `http://127.0.0.1:5000`, `https://registry.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    host: String,
    encrypted: bool,
}

/// The text is no address of a registry.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a registry's address; write http://HOST:PORT or https://HOST[:PORT]")]
pub struct InvalidRegistry(String);

impl Registry {
    /// Docker Hub's registry.
    pub fn docker_hub() -> Registry {
        Registry { host: "docker.io".into(), encrypted: true }
    }

    /// The registry that an image's name begins with. As in Docker, one on this machine is spoken to without encryption.
    pub fn of_host(host: &str) -> Registry {
        Registry { host: host.into(), encrypted: !is_loopback(host) }
    }

    /// The same registry, without encryption.
    pub fn unencrypted(self) -> Registry {
        Registry { encrypted: false, ..self }
    }

    /// Host name or address, and the port where one is given.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is spoken to over https.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether it can only be on this machine.
    pub fn is_here(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether nobody between here and the registry can read or change what is said.
    pub fn is_safe(&self) -> bool {
        self.encrypted || self.is_here()
    }
}

impl FromStr for Registry {
    type Err = InvalidRegistry;

    fn from_str(text: &str) -> Result<Registry, InvalidRegistry> {
        let invalid = || InvalidRegistry(text.to_owned());
        let (scheme, host) = text.split_once("://").ok_or_else(invalid)?;
        let host = host.strip_suffix('/').unwrap_or(host);
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if host.is_empty() || !host.chars().all(allowed) {
            return Err(invalid());
        }
        match scheme {
            "http" => Ok(Registry { host: host.into(), encrypted: false }),
            "https" => Ok(Registry { host: host.into(), encrypted: true }),
            _ => Err(invalid()),
        }
    }
}

/// Whether a host, with or without a port, can only be this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_safe_without_encryption() {
        let safe = |text: &str| text.parse::<Registry>().expect(text).is_safe();
        assert!(safe("http://127.0.0.1:5000"));
        assert!(safe("http://localhost:5000/"));
        assert!(safe("http://[::1]:5000"));
        assert!(safe("https://registry.example"));
        assert!(!safe("http://registry.example:5000"));
        assert!(!safe("http://127.0.0.1.registry.example"));
        assert!(!safe("http://localhost.example:80"));
    }

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_nothing_else() {
        for text in
            ["registry.example", "ftp://registry.example", "http://", "http://a/b", "http://user@a", "https://a?b"]
        {
            assert!(text.parse::<Registry>().is_err(), "{text}");
        }
    }
}
