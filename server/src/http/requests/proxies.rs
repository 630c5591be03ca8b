//! Who asks, where a proxy asks for others.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};

use super::super::connections::Peer;

/// An address, or all that begin with the same bits: `192.0.2.1`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// This text names no network.
#[derive(Debug, thiserror::Error)]
#[error("write an address like 192.0.2.1, or a network like 10.0.0.0/8 or fd00::/8")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Network, NoNetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| NoNetwork))?;
        // Bits behind the network's own are a mistake, and it is not known which.
        let network = Network { address, bits };
        (bits <= width && network.first_bits(address) == network.all_bits(address)).then_some(network).ok_or(NoNetwork)
    }
}

impl Network {
    /// Whether an address is in it.
    fn has(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && self.first_bits(self.address) == self.first_bits(address)
    }

    /// An address, left-aligned.
    fn all_bits(&self, address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    /// The same without what is behind the network's bits.
    fn first_bits(&self, address: IpAddr) -> u128 {
        self.all_bits(address) & u128::MAX.checked_shl(128 - self.bits).unwrap_or(0)
    }
}

/// The proxies whose word is taken for whom they ask for.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<[Network]>);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl Proxies {
    /// Those in these networks.
    pub fn new(networks: Vec<Network>) -> Proxies {
        Proxies(networks.into())
    }

    /// Whether this is one.
    pub fn have(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.has(address))
    }

    /// The address that asks: the peer's, or the last in `X-Forwarded-For` that no proxy of ours has put there for another
    /// one of ours. What stands before it anybody may have written.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let Peer(Some(peer)) = peer else { return None };
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).into_iter().filter_map(|line| line.to_str().ok()).collect();
        let mut client = peer.to_canonical();
        // Several lines are one list (RFC 9110, section 5.3).
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            if !self.have(client) {
                break;
            }
            // Where a proxy's word makes no sense, it is the proxy that asks.
            let Some(hop) = address(hop.trim()) else { break };
            client = hop;
        }
        Some(client)
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    bare().or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn proxies(networks: &[&str]) -> Proxies {
        Proxies::new(networks.iter().map(|text| text.parse().expect("a network")).collect())
    }

    fn client(proxies: &Proxies, peer: &str, lines: &[&str]) -> String {
        let value = |line: &&str| (FORWARDED_FOR, HeaderValue::from_str(line).expect("a header"));
        let headers = lines.iter().map(value).collect();
        let client = proxies.client(Peer(Some(peer.parse().expect("an address"))), &headers);
        client.expect("a peer has an address").to_string()
    }

    #[test]
    fn networks_have_their_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            let proxies = proxies(&[network]);
            assert!(proxies.have(inside.parse().unwrap()), "{network} {inside}");
            assert!(!proxies.have(outside.parse().unwrap()), "{network} {outside}");
        }
        assert!(proxies(&["10.0.0.0/8"]).have("::ffff:10.1.2.3".parse().unwrap()));
        for wrong in ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_hop_that_is_no_proxy_of_ours_asks() {
        let ours = proxies(&["10.0.0.0/8", "::1"]);
        let cases: [(&str, &[&str], &str); 12] = [
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.1, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7:1234"], "198.51.100.7"),
            ("::1", &["[2001:db8::7]:1234"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7,"], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
        ];
        for (peer, lines, asks) in cases {
            assert_eq!(client(&ours, peer, lines), asks, "{peer} {lines:?}");
        }
        assert_eq!(client(&proxies(&[]), "127.0.0.1", &["198.51.100.7"]), "127.0.0.1");
    }
}
