//! Who the client is, behind the proxies that are believed.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;
use ipnet::IpNet;

/// The client's public address: the rightmost hop that is not a trusted proxy. None when that is private, loopback or
/// unreadable: such an address would locate the app's users in its own data centre (protocol.md T13).
#[must_use]
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    let mut client = peer.to_canonical();
    if is_trusted(client) {
        for hop in forwarded_hops(headers).into_iter().rev() {
            // A hop that cannot be read was not written by a proxy of ours: nothing left of it can be believed.
            client = hop?;
            if !is_trusted(client) {
                break;
            }
        }
    }
    is_public(client).then_some(client)
}

/// The hops of every `X-Forwarded-For`, left to right; None for one that is no address.
fn forwarded_hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all("x-forwarded-for").iter();
    lines.flat_map(|line| line.to_str().unwrap_or("?").split(',').map(|hop| parse_hop(hop.trim()))).collect()
}

/// An address as proxies write it: bare, with a port, an IPv6 one in brackets.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    if let Some((inner, _)) = hop.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inner.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    }
    if let Ok(ip) = hop.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    let (ip, _port) = hop.split_once(':')?;
    ip.parse::<Ipv4Addr>().ok().map(IpAddr::from)
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "127.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec();
        let table: [(&str, &[&str], Option<&str>); 12] = [
            ("203.0.113.7", &[], Some("203.0.113.7")),
            ("203.0.113.7", &["198.51.100.1"], Some("203.0.113.7")),
            ("10.0.0.1", &["198.51.100.1"], Some("198.51.100.1")),
            ("10.0.0.1", &["192.0.2.66, 198.51.100.1, 10.0.0.9"], Some("198.51.100.1")),
            ("10.0.0.1", &["192.0.2.66", "198.51.100.1"], Some("198.51.100.1")),
            ("10.0.0.1", &["198.51.100.1:4711"], Some("198.51.100.1")),
            ("fd00::1", &["[2001:db8::7]:443"], Some("2001:db8::7")),
            ("10.0.0.1", &["198.51.100.1, nonsense"], None),
            ("10.0.0.1", &["10.0.0.2"], None),
            ("10.0.0.1", &[], None),
            ("192.168.1.4", &["198.51.100.1"], None),
            ("::ffff:203.0.113.7", &[], Some("203.0.113.7")),
        ];
        for (peer, hops, want) in table {
            let mut headers = HeaderMap::new();
            for hop in hops {
                headers.append("x-forwarded-for", hop.parse().unwrap());
            }
            let client = client_ip(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(client, want.map(|ip| ip.parse().unwrap()), "{peer} {hops:?}");
        }
    }
}
