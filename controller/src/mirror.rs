//! Reported facts as labels, for selectors of kubectl.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;

use crate::watch::Chain;
use crate::write::Writer;

/// Machines looked at together: the last that was seen of each counts.
const MACHINES_AT_ONCE: usize = 4096;

/// A machine whose labels did not mirror its facts when it was seen.
pub(crate) struct Unmirrored {
    pub(crate) machine: String,
    /// The version that was seen, where it is a number.
    pub(crate) version: Option<u64>,
    pub(crate) facts: BTreeMap<String, String>,
}

/// Mirrors facts as labels, one machine after the other: they change when a machine is enrolled or gets other hardware.
///
/// A machine is seen several times before its labels are; what was seen before our write is older than its answer.
pub(crate) async fn mirror(writer: Arc<Writer>, mut seen: mpsc::UnboundedReceiver<Unmirrored>) {
    let mut written: BTreeMap<String, u64> = BTreeMap::new();
    let mut batch = Vec::new();
    while seen.recv_many(&mut batch, MACHINES_AT_ONCE).await > 0 {
        let latest: BTreeMap<String, Unmirrored> =
            batch.drain(..).map(|one| (one.machine.clone(), one)).collect();
        for (machine, Unmirrored { version, facts, .. }) in latest {
            if written.get(&machine).is_some_and(|written| version.is_some_and(|version| version < *written))
            {
                continue;
            }
            match writer.mirror_facts(&machine, &facts).await {
                Ok(Some(version)) => {
                    written.insert(machine, version);
                }
                Ok(None) => {
                    written.remove(&machine);
                }
                Err(error) => {
                    warn!(machine, error = %Chain(&error), "facts could not be mirrored as labels; the next report tries again");
                }
            }
        }
    }
}
