//! Presence, as gateways publish it and the controller reads it: who is heard, without a write per machine (design §8).
//!
//! Each gateway keeps a Lease `muster-gateway-<id>`, renewed while it lives, and 16 ConfigMaps
//! `muster-presence-<id>-<shard>`, each written only when its set changes. A machine is present if a living gateway
//! lists it under `present`: it was heard lately and confirmed the report that is on record (rule M1). Otherwise it
//! was last heard when the latest line about it under any gateway's `silent` says; what a dead gateway lists as
//! present counts as heard until that gateway's Lease was last renewed.
//!
//! Deliberately not here: who decides that a machine is silent, and what follows from it (rule B2).

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{Instant, MachineName};

/// Label on every ConfigMap with presence; its value is `true`.
pub const LABEL_PRESENCE: &str = "muster.dev/presence";

/// Label on a gateway's Lease and ConfigMaps: its id.
pub const LABEL_GATEWAY: &str = "muster.dev/gateway";

/// Name of the Lease whose `leaseTransitions` is the controllers' epoch (rule A3).
pub const CONTROLLER_LEASE: &str = "muster-controller";

/// Into how many ConfigMaps a gateway's machines are divided.
///
/// 16: a fleet of 100,000 machines with the longest names, all silent, needs 0.6 MB in each, below the 1 MB that an
/// object may have; and one machine's coming and going rewrites a sixteenth only.
pub const PRESENCE_SHARDS: u8 = 16;

/// Key of the machines that are heard, one name per line.
const PRESENT: &str = "present";

/// Key of the instant since which the gateway is up, which its Lease has as `acquireTime`. What was published in an
/// earlier life says nothing of now, and watches of Leases and ConfigMaps are not ordered among each other.
const SINCE: &str = "since";

/// Key of the machines that are not, `<name> <RFC 3339 time last heard>` per line.
const SILENT: &str = "silent";

/// The shard of a machine: a stable hash of its name (FNV-1a).
#[must_use]
pub fn presence_shard(machine: &MachineName) -> u8 {
    let hash = machine.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u8::try_from((hash ^ (hash >> 32)) % u64::from(PRESENCE_SHARDS)).expect("a remainder of 16 fits")
}

/// Name of a gateway's Lease.
#[must_use]
pub fn gateway_lease(gateway: &str) -> String {
    format!("muster-gateway-{gateway}")
}

/// Name of a gateway's ConfigMap for one shard.
#[must_use]
pub fn presence_config_map(gateway: &str, shard: u8) -> String {
    format!("muster-presence-{gateway}-{shard}")
}

/// One shard of what one gateway heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceShard {
    /// Heard, and the report on record confirmed.
    pub present: BTreeSet<MachineName>,
    /// Not heard any more, and when last.
    pub silent: BTreeMap<MachineName, Instant>,
    /// Since when the gateway that wrote it is up; absent: written by one that does not say.
    pub since: Option<Instant>,
}

/// Why a ConfigMap's data is no presence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line:?} under {key} is not what a gateway writes; is something else writing the ConfigMap?")]
pub struct PresenceError {
    /// The key.
    pub key: &'static str,
    /// The line, cut to 120 characters.
    pub line: String,
}

impl PresenceShard {
    /// As the ConfigMap's data; the same set always gives the same text.
    #[must_use]
    pub fn encode(&self) -> BTreeMap<String, String> {
        let present = self.present.iter().map(MachineName::as_str).collect::<Vec<_>>().join("\n");
        let silent =
            self.silent.iter().map(|(name, heard)| format!("{name} {heard}")).collect::<Vec<_>>().join("\n");
        let mut data = BTreeMap::from([(PRESENT.to_owned(), present), (SILENT.to_owned(), silent)]);
        if let Some(since) = self.since {
            data.insert(SINCE.to_owned(), since.to_string());
        }
        data
    }

    /// From a ConfigMap's data.
    ///
    /// # Errors
    /// When a line is not what [`encode`](Self::encode) writes.
    pub fn decode(data: &BTreeMap<String, String>) -> Result<Self, PresenceError> {
        let lines =
            |key: &str| data.get(key).map_or("", String::as_str).lines().filter(|line| !line.is_empty());
        let wrong = |key, line: &str| PresenceError { key, line: line.chars().take(120).collect() };
        let present = lines(PRESENT).map(|line| MachineName::parse(line).map_err(|_| wrong(PRESENT, line)));
        let silent = lines(SILENT).map(|line| {
            let parsed = line.split_once(' ').and_then(|(name, heard)| {
                Some((MachineName::parse(name).ok()?, heard.parse::<Instant>().ok()?))
            });
            parsed.ok_or_else(|| wrong(SILENT, line))
        });
        let since = lines(SINCE).next().map(|line| line.parse::<Instant>().map_err(|_| wrong(SINCE, line)));
        Ok(Self {
            present: present.collect::<Result<_, _>>()?,
            silent: silent.collect::<Result<_, _>>()?,
            since: since.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_is_read_as_it_was_written() {
        let shard = PresenceShard {
            present: ["web-01", "web-02"].map(|name| MachineName::parse(name).unwrap()).into(),
            silent: [(MachineName::parse("db-01").unwrap(), "2026-11-23T02:00:00Z".parse().unwrap())].into(),
            since: Some("2026-11-22T02:00:00Z".parse().unwrap()),
        };
        let data = shard.encode();
        assert_eq!(data["present"], "web-01\nweb-02");
        assert_eq!(data["silent"], "db-01 2026-11-23T02:00:00Z");
        assert_eq!(data["since"], "2026-11-22T02:00:00Z");
        assert_eq!(PresenceShard::decode(&data), Ok(shard));
        assert_eq!(PresenceShard::decode(&PresenceShard::default().encode()), Ok(PresenceShard::default()));
        let bad = BTreeMap::from([("silent".to_owned(), "db-01 yesterday".to_owned())]);
        assert!(PresenceShard::decode(&bad).is_err());
    }

    #[test]
    fn machines_spread_over_the_shards_and_stay_there() {
        let shards: Vec<u8> =
            (0..1000).map(|n| presence_shard(&MachineName::parse(&format!("sim-{n:05}")).unwrap())).collect();
        for shard in 0..PRESENCE_SHARDS {
            let count = shards.iter().filter(|s| **s == shard).count();
            assert!((20..=140).contains(&count), "shard {shard} has {count} of 1000");
        }
        // Written down: a change of the hash would make gateways of two versions list machines twice.
        assert_eq!(presence_shard(&MachineName::parse("web-01").unwrap()), 14);
    }
}
