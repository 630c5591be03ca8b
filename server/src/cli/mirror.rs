//! The flags of `newroot serve` that say where the labs' images come from.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};

use newroot::defence::Defences;
use newroot::registry::{Limits, Store, Upstream};
use newroot::runtime::Registry;

/// What can be set.
#[derive(clap::Args)]
pub struct MirrorOptions {
    /// The registry that the labs' mirror asks, instead of Docker Hub
    #[arg(long, value_name = "URL")]
    upstream: Option<Registry>,
    /// Let labs pull images whose names begin with HOST, from there or from URL; may be repeated
    #[arg(long, value_name = "HOST[=URL]")]
    mirror: Vec<Mirrored>,
    /// Talk http, without encryption, to registries on other machines too
    #[arg(long)]
    upstream_insecure: bool,
    /// How large the mirror's cache may become, in GiB; what was not asked for longest goes first
    #[arg(long, value_name = "GIB", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    cache_limit: u64,
}

impl MirrorOptions {
    /// The registry that is asked for names without a host.
    pub fn upstream(&self) -> Registry {
        self.upstream.clone().unwrap_or_else(Registry::docker_hub)
    }

    /// The registries to be asked, as whoever `docker login` has made known to root.
    pub fn upstreams(&self, defences: Defences) -> Result<Upstreams> {
        let upstream = |registry: Registry| match self.upstream_insecure {
            true => Upstream::insecure(registry),
            false => Upstream::new(registry),
        };
        let mirrored = self.mirror.iter().map(|Mirrored { host, registry }| {
            upstream(registry.clone()).map(|upstream| (host.clone(), upstream)).map_err(anyhow::Error::from)
        });
        let cache = self.cache_limit.checked_mul(1 << 30).context("--cache-limit is more than there can be")?;
        let limits = Limits { cache, defences, ..Limits::default() };
        Ok(Upstreams { default: upstream(self.upstream())?, mirrored: mirrored.collect::<Result<_>>()?, limits })
    }
}

/// Registries that are ready to be asked, for a mirror whose files have not been touched yet.
pub struct Upstreams {
    default: Upstream,
    mirrored: Vec<(String, Upstream)>,
    limits: Limits,
}

impl Upstreams {
    /// The images that the mirror serves. Makes and removes files.
    pub fn open(self, state: &Path) -> Result<Store> {
        let mut store = Store::limited(state, Some(self.default), self.limits)?;
        for (host, upstream) in self.mirrored {
            store.mirror(host, upstream);
        }
        Ok(store)
    }
}

/// A host in images' names, and the registry that is asked for them.
#[derive(Clone)]
struct Mirrored {
    host: String,
    registry: Registry,
}

impl FromStr for Mirrored {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Mirrored> {
        let (host, registry) = match text.split_once('=') {
            Some((host, url)) => (host, url.parse()?),
            None => (text, format!("https://{text}").parse()?),
        };
        // As it stands in a name: in `ghcr.io/team/app`, `ghcr.io` is a host, and in `team/app` `team` is none.
        let name = format!("{host}/image").parse::<newroot::registry::RepositoryName>().ok();
        let is_host = name.is_some_and(|name| name.host() == Some(host));
        anyhow::ensure!(is_host, "`{host}` is not the host of an image's name; write --mirror ghcr.io, or HOST=URL");
        Ok(Mirrored { host: host.to_owned(), registry })
    }
}
