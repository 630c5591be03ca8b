//! The flags of `serve` that say what browsers may take of it, and whose word is taken for where they are.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use newroot::classroom::Room;
use newroot::defence::{Defence, Defences};
use newroot::http::{Contact, Limits, Network, Proxies};

use super::lab_options::some_time;

/// What can be set.
#[derive(clap::Args)]
pub struct HttpOptions {
    /// A reverse proxy before this server, or a network of them: what they say in X-Forwarded-For is taken for the
    /// browser's address; may be repeated [default: nobody is believed]
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    trusted_proxy: Vec<Network>,
    /// How many labs may run at once for browsers behind one address (with IPv6, one /64 network) [default: all but a
    /// sixteenth of --labs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    labs_per_address: Option<u32>,
    /// How many new labs there may be in a minute for browsers behind one address, once they have had twice --labs
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    new_labs_per_minute: u32,
    /// How many connections browsers behind one address may have open at once, those to labs not counted
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_address: u32,
    /// How long a browser may take to send a request, and to take a piece of the answer; programs in labs get four times
    /// as long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = some_time)]
    http_timeout: Duration,
    /// Whom to tell of a fault in this server's security: an address that begins with mailto:, https:// or tel:; it is served
    /// as /.well-known/security.txt
    #[arg(long, value_name = "ADDRESS")]
    security_contact: Option<Contact>,
}

/// More than this server uses.
const DESCRIPTORS: u64 = 65536;

impl HttpOptions {
    /// What browsers and labs may take of this process, which from now on may have as many descriptors as it can.
    pub fn limits(&self, defences: Defences) -> Limits {
        Limits {
            descriptors: descriptors(),
            connections_per_address: self.connections_per_address as usize,
            timeout: self.http_timeout,
            defences,
        }
    }

    /// What there is room for, of so many labs.
    pub fn room(&self, labs: usize, defences: &Defences) -> Room {
        if !defences.stand(Defence::PerAddress) {
            return labs.into();
        }
        let most = labs - labs / 16;
        Room {
            labs,
            labs_per_address: self.labs_per_address.map_or(most, |labs| labs as usize),
            new_labs_per_minute: self.new_labs_per_minute,
        }
    }

    /// Whom to tell of a fault.
    pub fn contact(&self) -> Option<Contact> {
        self.security_contact.clone()
    }

    /// Who is believed.
    pub fn proxies(&self) -> Proxies {
        Proxies::new(self.trusted_proxy.clone())
    }
}

/// Raises this process's limit of descriptors to what it may be, and returns that.
fn descriptors() -> u32 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Limits::default().descriptors };
    let wanted = hard.min(DESCRIPTORS).max(soft);
    let raised = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(_) => soft,
    };
    u32::try_from(raised).unwrap_or(u32::MAX)
}
