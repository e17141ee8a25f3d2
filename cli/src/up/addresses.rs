//! Where `muster up` listens: with port 0 where it did the last time, so that kubeconfigs and agents go on working.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::state::{State, StateError};

const FILE: &str = "addresses.json";

/// The addresses of the last time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Remembered {
    api: Option<SocketAddr>,
    gateway: Option<SocketAddr>,
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    /// The state directory fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// The address cannot be had.
    #[error("cannot listen on {address} for {what}; is something else listening there?")]
    Bind {
        /// For whom.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        source: io::Error,
    },
}

/// The two listeners.
pub(crate) struct Listeners {
    /// For the Kubernetes API.
    pub(crate) api: TcpListener,
    /// Its address.
    pub(crate) api_address: SocketAddr,
    /// For agents.
    pub(crate) gateway: TcpListener,
    /// Their address.
    pub(crate) gateway_address: SocketAddr,
}

/// Listens, and remembers where.
pub(crate) async fn listen(
    state: &State,
    api: SocketAddr,
    gateway: SocketAddr,
) -> Result<Listeners, AddressError> {
    // An unreadable memory is no memory: any port will do, then.
    let before: Remembered =
        state.read(FILE)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let (api, api_address) = bind("the API", api, before.api).await?;
    let (gateway, gateway_address) = bind("agents", gateway, before.gateway).await?;
    let now = Remembered { api: Some(api_address), gateway: Some(gateway_address) };
    state.write(FILE, &serde_json::to_string(&now).expect("two addresses are plain data"))?;
    Ok(Listeners { api, api_address, gateway, gateway_address })
}

async fn bind(
    what: &'static str,
    wanted: SocketAddr,
    before: Option<SocketAddr>,
) -> Result<(TcpListener, SocketAddr), AddressError> {
    let same = before.filter(|before| wanted.port() == 0 && before.ip() == wanted.ip());
    if let Some(address) = same {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok((listener, address)),
            Err(error) => {
                tracing::warn!(%address, %error, "the address for {what} of the last time is taken; whoever was told it must be told the new one");
            }
        }
    }
    let failed = |source| AddressError::Bind { what, address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// The address by which others reach a listener: for "any", the one of the default route.
pub(crate) fn reachable(listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        SocketAddr::new(primary(listening.is_ipv6()), listening.port())
    } else {
        listening
    }
}

/// This machine's address towards the world. Connecting a UDP socket sends nothing; the address is one for documentation.
fn primary(v6: bool) -> IpAddr {
    let (local, remote, fallback): (IpAddr, IpAddr, IpAddr) = if v6 {
        let remote = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        (Ipv6Addr::UNSPECIFIED.into(), remote.into(), Ipv6Addr::LOCALHOST.into())
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into())
    };
    let find = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((local, 0))?;
        socket.connect((remote, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    find().unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_ports_of_the_last_time_are_taken_again_if_they_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::take(folder.path()).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let first = listen(&state, any, any).await.unwrap();
        let (api, gateway) = (first.api_address, first.gateway_address);
        let beside = listen(&state, any, any).await.unwrap();
        assert_ne!(beside.api_address, api);
        drop((first, beside));
        state.write(FILE, &serde_json::json!({"api": api, "gateway": gateway}).to_string()).unwrap();
        let again = listen(&state, any, any).await.unwrap();
        assert_eq!((again.api_address, again.gateway_address), (api, gateway));
    }

    #[test]
    fn whoever_listens_everywhere_is_told_apart_from_nowhere() {
        let listening: SocketAddr = "0.0.0.0:80".parse().unwrap();
        assert!(!reachable(listening).ip().is_unspecified());
        let one: SocketAddr = "10.1.2.3:80".parse().unwrap();
        assert_eq!(reachable(one), one);
    }
}
