//! A network for each lab: a bridge on the host, where the gateway listens, and a cable to each machine.
//!
//! There is no way from it to anywhere else: a machine reaches the host's address on the bridge and the other
//! machines, and nothing more. A cable can be cut, which makes its machine silent without stopping it.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::command::{may, must, run};

/// The first two bytes of every lab's addresses: private ones (RFC 1918) that few networks use.
const PREFIX: [u8; 2] = [10, 213];
/// How many labs there can be at a time on one host: each has a /24 of the prefix.
const LABS: u8 = 250;
/// How many machines a lab can have: the host is .1, .0 and .255 are no addresses.
const MACHINES: u8 = 250;

/// A lab's bridge.
#[derive(Debug)]
pub(crate) struct Bridge {
    number: u8,
    cables: AtomicU8,
}

impl Bridge {
    /// Makes a bridge with the first number that nobody uses: creating it is what claims the number.
    pub(crate) fn create() -> Self {
        let number = (0..LABS).find(|number| claims(*number)).expect("fewer than 250 labs are on this host");
        let bridge = Self { number, cables: AtomicU8::new(0) };
        must("ip", &["address", "add", &format!("{}/24", bridge.host()), "dev", &bridge.name()]);
        must("ip", &["link", "set", &bridge.name(), "up"]);
        bridge
    }

    /// Its interface's name on the host, by which the next suite finds what a killed one left.
    pub(crate) fn name(&self) -> String {
        format!("mus{}", self.number)
    }

    /// The host's address on it.
    pub(crate) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(PREFIX[0], PREFIX[1], self.number, 1)
    }

    /// Makes a network namespace for a machine, with a cable to the bridge.
    pub(crate) fn plug_in(&self, machine: &str) -> Cable {
        let count = self.cables.fetch_add(1, Ordering::Relaxed);
        assert!(count < MACHINES, "a lab has at most {MACHINES} machines");
        let cable = Cable {
            namespace: format!("{}-{machine}", self.name()),
            host_end: format!("{}p{count}", self.name()),
            address: Ipv4Addr::new(PREFIX[0], PREFIX[1], self.number, count + 2),
        };
        let Cable { namespace, host_end, address } = &cable;
        must("ip", &["netns", "add", namespace]);
        must("ip", &["link", "add", host_end, "type", "veth", "peer", "name", "host0", "netns", namespace]);
        must("ip", &["link", "set", host_end, "master", &self.name(), "up"]);
        must("ip", &["-n", namespace, "address", "add", &format!("{address}/24"), "dev", "host0"]);
        must("ip", &["-n", namespace, "link", "set", "host0", "up"]);
        must("ip", &["-n", namespace, "link", "set", "lo", "up"]);
        cable
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        may("ip", &["link", "delete", &self.name()]);
    }
}

/// Whether the bridge of that number could be made, and so is ours.
fn claims(number: u8) -> bool {
    let output =
        run(Command::new("ip").args(["link", "add", "name", &format!("mus{number}"), "type", "bridge"]));
    let taken = output.stderr.contains("File exists");
    assert!(output.is_success() || taken, "cannot make a network bridge here: {output}");
    output.is_success()
}

/// Removes the bridge of a lab that is no more, with its cables and namespaces.
pub(crate) fn sweep(bridge: &str) {
    let known = bridge.strip_prefix("mus").is_some_and(|number| number.parse::<u8>().is_ok());
    if !known {
        return;
    }
    let namespaces = std::fs::read_dir("/run/netns").into_iter().flatten().filter_map(Result::ok);
    for name in namespaces.filter_map(|entry| entry.file_name().into_string().ok()) {
        if name.starts_with(&format!("{bridge}-")) {
            may("ip", &["netns", "delete", &name]);
            // The machine's own name is that of its namespace.
            std::fs::remove_dir(crate::nspawn::leftovers(&name)).ok();
        }
    }
    may("ip", &["link", "delete", bridge]);
}

/// A machine's network namespace and its cable to the bridge.
#[derive(Debug)]
pub(crate) struct Cable {
    namespace: String,
    host_end: String,
    address: Ipv4Addr,
}

impl Cable {
    /// The machine's address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The file by which systemd-nspawn joins the namespace.
    pub(crate) fn namespace(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.namespace)
    }

    /// Cuts it: packets are lost both ways, and no connection is told.
    pub(crate) fn cut(&self) {
        must("ip", &["link", "set", &self.host_end, "down"]);
    }

    /// Mends it.
    pub(crate) fn mend(&self) {
        must("ip", &["link", "set", &self.host_end, "up"]);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        may("ip", &["netns", "delete", &self.namespace]);
        may("ip", &["link", "delete", &self.host_end]);
    }
}
