//! The way to a registry: which one, over which protocol, and what its errors mean. What is asked of it is in `pull`.

use std::error::Error;
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::super::credentials;
use super::super::error::PullError;
use super::super::options::PullOptions;
use super::super::registry::Registry;

/// A client for the image's registry, and what it needs to ask for the image.
#[derive(Clone)]
pub struct Connection {
    /// Speaks the protocol.
    pub client: Client,
    /// The image, as the protocol calls it.
    pub reference: Reference,
    /// Who is asking.
    pub login: RegistryAuth,
}

/// Finds the registry and the login for an image. Nothing is asked of the registry yet.
pub fn connect(options: &PullOptions) -> Result<Connection, PullError> {
    let name = options.image.name();
    let named: Reference = name.parse().map_err(|error: oci_client::ParseError| PullError::Reference {
        image: name.to_owned(),
        reason: error.to_string(),
    })?;
    // A name without a host is Docker Hub's, or that of the registry that takes its place.
    let registry = match (&options.registry, named.registry()) {
        (Some(registry), "docker.io") => registry.clone(),
        (None, "docker.io") => Registry::docker_hub(),
        (_, host) if options.insecure => Registry::of_host(host).unencrypted(),
        (_, host) => Registry::of_host(host),
    };
    // A mirror has each registry's images under the name of their host. What is on this machine needs none.
    let (registry, repository) = match &options.mirror {
        Some(mirror) if named.registry() != "docker.io" && !registry.is_here() => {
            (mirror.clone(), format!("{}/{}", named.registry(), named.repository()))
        }
        _ => (registry, named.repository().to_owned()),
    };
    if !registry.is_safe() && !options.insecure {
        return Err(PullError::Unencrypted { registry: registry.host().to_owned() });
    }
    let host = registry.host().to_owned();
    let reference = match (named.tag(), named.digest()) {
        (_, Some(digest)) => Reference::with_digest(host, repository, digest.to_owned()),
        (tag, None) => Reference::with_tag(host, repository, tag.unwrap_or("latest").to_owned()),
    };
    let login = match credentials::find(registry.host()) {
        Ok(Some(found)) => RegistryAuth::Basic(found.user, found.password),
        Ok(None) => RegistryAuth::Anonymous,
        Err(source) => return Err(PullError::Credentials { registry: registry.host().to_owned(), source }),
    };
    Ok(Connection { client: client(&registry)?, reference, login })
}

/// An HTTP client for one registry. It gives up on one that does not answer.
pub fn client(registry: &Registry) -> Result<Client, PullError> {
    Client::try_from(ClientConfig {
        protocol: if registry.is_encrypted() { ClientProtocol::Https } else { ClientProtocol::Http },
        user_agent: concat!("newroot/", env!("CARGO_PKG_VERSION")),
        connect_timeout: Some(Duration::from_secs(10)),
        // A mirror answers only when it has the whole layer itself.
        read_timeout: Some(Duration::from_secs(120)),
        ..ClientConfig::default()
    })
    .map_err(|error| PullError::Client(Box::new(error)))
}

impl Connection {
    /// What a failed request means for whoever asked for the image.
    pub fn explain(&self, error: OciDistributionError) -> PullError {
        match (explain(error, &self.reference), &self.login) {
            (PullError::Unauthorized { image, registry }, RegistryAuth::Basic(user, _)) => {
                PullError::Refused { image, registry, user: user.clone() }
            }
            (error, _) => error,
        }
    }
}

fn explain(error: OciDistributionError, reference: &Reference) -> PullError {
    let image = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => format!("{}:{tag}", reference.repository()),
        (None, digest) => format!("{}@{}", reference.repository(), digest.unwrap_or_default()),
    };
    let registry = reference.registry().to_owned();
    match error {
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            PullError::Unauthorized { image, registry }
        }
        OciDistributionError::ServerError { code: 404, .. } => {
            PullError::NotFound { image, registry, hint: String::new() }
        }
        OciDistributionError::ServerError { code: 429, message, .. } => {
            PullError::TooManyPulls { registry, message: message_of(&message) }
        }
        // A mirror that cannot reach what it mirrors says so, and what it has; there is no point in asking again.
        OciDistributionError::ServerError { code: 502, message, .. } if message.contains("UNAVAILABLE") => {
            PullError::Mirror { image, registry, message: message_of(&message) }
        }
        OciDistributionError::ServerError { code: code @ 500.., message, .. } => {
            PullError::Trouble { registry, message: format!("{code} {}", message_of(&message)).trim_end().to_owned() }
        }
        OciDistributionError::ServerError { code, message, .. } => {
            PullError::Registry { registry, message: format!("{code} {}", message_of(&message)) }
        }
        OciDistributionError::RegistryError { envelope, .. } => match envelope.errors.into_iter().next() {
            Some(error) => match error.code {
                OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound => {
                    PullError::NotFound { image, registry, hint: String::new() }
                }
                OciErrorCode::Unauthorized | OciErrorCode::Denied => PullError::Unauthorized { image, registry },
                OciErrorCode::Toomanyrequests => PullError::TooManyPulls { registry, message: error.message },
                _ => PullError::Registry { registry, message: error.message },
            },
            None => PullError::Registry { registry, message: "an error without a message".to_owned() },
        },
        OciDistributionError::RequestError(error) if !error.is_connect() && !error.is_timeout() => {
            PullError::Cut { registry, reason: innermost(&error) }
        }
        OciDistributionError::RequestError(error) => PullError::Unreachable { registry, reason: innermost(&error) },
        other => PullError::Registry { registry, message: other.to_string() },
    }
}

/// The message of the first error in an answer of the protocol's form; the whole answer, shortened, if it has another.
fn message_of(answer: &str) -> String {
    let message = serde_json::from_str::<serde_json::Value>(answer)
        .ok()
        .and_then(|json| json.pointer("/errors/0/message")?.as_str().map(str::to_owned));
    message.unwrap_or_else(|| answer.chars().take(200).collect())
}

/// The cause at the end of a chain of errors: `Connection refused` rather than `error sending request`.
pub fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
