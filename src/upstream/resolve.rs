//! Where a name is: asked of the system, or of name servers of our own.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, OnceLock},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use tokio::sync::Semaphore;

/// The system's resolver may hang, and holds a thread then; so many of them, and no more.
const LOOKUPS_MAX: usize = 2;

/// Finds the addresses of one upstream's name.
#[derive(Debug)]
pub(super) enum Resolver {
    /// As every program of this machine does: hosts file, then DNS.
    System(Arc<Semaphore>),
    /// By these name servers alone: where hosts file or DNS lead Segment's names here, these must not.
    Own(Box<Own>),
}

/// Name servers, and who asks them.
#[derive(Debug)]
pub(super) struct Own {
    servers: Vec<SocketAddr>,
    /// Made with the first question: it needs the runtime.
    asking: OnceLock<TokioResolver>,
}

impl Resolver {
    /// None given: the system's.
    pub(super) fn new(name_servers: &[SocketAddr]) -> Self {
        if name_servers.is_empty() {
            Self::System(Arc::new(Semaphore::new(LOOKUPS_MAX)))
        } else {
            Self::Own(Box::new(Own { servers: name_servers.to_vec(), asking: OnceLock::new() }))
        }
    }

    /// The addresses of `host`; at least one.
    pub(super) async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
        let found = match self {
            Self::System(lookups) => by_system(lookups, host, port).await?,
            Self::Own(own) => own.look_up(host).await?,
        };
        if found.is_empty() { Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")) } else { Ok(found) }
    }

    /// Whether somebody who stands in the way by hosts file can be heeded.
    pub(super) const fn heeds_hosts_file(&self) -> bool {
        matches!(self, Self::System(_))
    }
}

async fn by_system(lookups: &Arc<Semaphore>, host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
    let permit = Arc::clone(lookups).acquire_owned().await.map_err(io::Error::other)?;
    let host = host.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(|addresses| addresses.map(|address| address.ip()).collect());
        drop(permit);
        found
    });
    found.await.map_err(io::Error::other)?
}

impl Own {
    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let asking = if let Some(asking) = self.asking.get() {
            asking
        } else {
            let made = asking(&self.servers)?;
            self.asking.get_or_init(|| made)
        };
        // With its dot at the end the name is whole: no search list applies.
        let found = asking.lookup_ip(format!("{}.", host.trim_end_matches('.'))).await.map_err(io::Error::other)?;
        Ok(found.iter().collect())
    }
}

/// It keeps answers for as long as they say, and asks one server after the other, over TCP when an answer is too long for UDP.
fn asking(servers: &[SocketAddr]) -> io::Result<TokioResolver> {
    let server = |server: &SocketAddr| {
        let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = server.port();
        }
        NameServerConfig::new(server.ip(), true, connections.into())
    };
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// Answers each question for an IPv4 address with this one, and any other with nothing.
    async fn name_server(answer: [u8; 4]) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let end = 12 + question[12..length].iter().position(|byte| *byte == 0).unwrap() + 5;
                let is_for_v4 = question[end - 3] == 1;
                let mut reply = question[..end].to_vec();
                // An answer, recursion available; one question, and an answer when there is one; nothing else.
                reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_for_v4), 0, 0, 0, 0]);
                if is_for_v4 {
                    reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                    reply.extend_from_slice(&answer);
                }
                let _ = socket.send_to(&reply, from).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_name_server_of_our_own_is_asked_whatever_the_machine_says() {
        let server = name_server([52, 1, 2, 3]).await;
        let resolver = Resolver::new(&[server]);
        // The hosts file of every machine knows another address for the first one.
        for name in ["localhost.localdomain", "api.segment.io", "cdn.segment.com."] {
            assert_eq!(resolver.look_up(name, 443).await.unwrap(), [IpAddr::from([52, 1, 2, 3])], "{name}");
        }
        assert!(!resolver.heeds_hosts_file() && Resolver::new(&[]).heeds_hosts_file());
    }

    #[tokio::test]
    async fn the_next_name_server_is_asked_when_one_is_silent() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = Resolver::new(&[silent.local_addr().unwrap(), name_server([52, 9, 9, 9]).await]);
        assert_eq!(resolver.look_up("api.segment.io", 443).await.unwrap(), [IpAddr::from([52, 9, 9, 9])]);
    }
}
