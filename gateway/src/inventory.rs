//! Inventories: shared by all machines that have the same packages and offers, immutable, named by their digest.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use muster_crds::{PackageInventory, inventory_name, names};
use muster_model::{Digest, Inventory};
use muster_wire::{INVENTORY_PLAIN_LIMIT, Reason};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::enroll::manager;
use crate::fleet::{Fleet, Record};
use crate::gateway::Core;
use crate::refusal::Refusal;

/// For so long it is believed that an inventory is still there: unreferenced ones are kept for a day.
const BELIEVED_FOR: Duration = Duration::from_secs(3600);

/// Looks for an object that is being created: half a second in all, longer than any group commit takes.
const LOOKS: u32 = 25;

/// The time between them.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Of so many inventories it is remembered that they are there.
const KNOWN_LIMIT: usize = 100_000;

/// Inventories that were seen or written lately.
#[derive(Default)]
pub(crate) struct KnownInventories {
    known: Mutex<HashMap<Digest, Instant>>,
}

impl KnownInventories {
    fn has(&self, digest: &Digest) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).is_some_and(|since| since.elapsed() < BELIEVED_FOR)
    }

    fn note(&self, digest: Digest) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_LIMIT {
            known.clear();
        }
        known.insert(digest, Instant::now());
    }
}

impl Core {
    /// Whether an inventory is on record.
    pub(crate) async fn has_inventory(&self, fleet: &Fleet, digest: &Digest) -> Result<bool, Refusal> {
        if fleet.inventories.has(digest) {
            return Ok(true);
        }
        let found = claim(&fleet.apis.inventories, &inventory_name(digest)).await;
        let found = found.map_err(|error| Refusal::unavailable("the report", &error))?;
        if found {
            fleet.inventories.note(digest.clone());
        }
        Ok(found)
    }

    /// A machine sends an inventory, compressed.
    pub(crate) async fn put_inventory(
        &self,
        fleet: &Fleet,
        record: &Record,
        digest: &Digest,
        compressed: &[u8],
    ) -> Result<(), Refusal> {
        if fleet.inventories.has(digest) {
            return Ok(());
        }
        let inventory = read(digest, compressed)?;
        let object = PackageInventory::from_model(&inventory)
            .map_err(|error| Refusal::new(Reason::TooLarge, error.to_string()))?;
        match fleet.apis.inventories.create(&manager(), &object).await {
            Ok(_) => {
                self.metrics.inventories.inc();
                tracing::info!(machine = %record.name, %digest, packages = inventory.packages.len(), "inventory");
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = claim_existing(&fleet.apis.inventories, &inventory_name(digest)).await;
                if !there.map_err(|error| Refusal::unavailable("the inventory", &error))? {
                    return Err(Refusal::unavailable(
                        "the inventory",
                        &std::io::Error::other("it was just deleted"),
                    ));
                }
            }
            Err(error) => return Err(Refusal::unavailable("the inventory", &error)),
        }
        fleet.inventories.note(digest.clone());
        Ok(())
    }
}

/// Looks whether an object that is named by a digest is there, and takes the mark of a coming deletion off it: the
/// deletion then finds another version and fails (design §8).
///
/// # Errors
/// When the API does not answer as it should.
pub(crate) async fn claim<K>(api: &Api<K>, name: &str) -> Result<bool, kube::Error>
where
    K: Clone + DeserializeOwned + Debug + Resource<DynamicType = ()>,
{
    loop {
        let Some(found) = api.get_metadata_opt(name).await? else { return Ok(false) };
        if !found.annotations().contains_key(names::ANNOTATION_UNREFERENCED) {
            return Ok(true);
        }
        let patch = json!({"metadata": {
            "resourceVersion": found.resource_version(),
            "annotations": {names::ANNOTATION_UNREFERENCED: null},
        }});
        match api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(true),
            // Deleted or changed meanwhile: look again.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
}

/// As [`claim`], of an object whose creation has just been refused because it exists: its own creation may still be under
/// way, so that it cannot be read for a moment.
///
/// # Errors
/// When the API does not answer as it should.
pub(crate) async fn claim_existing<K>(api: &Api<K>, name: &str) -> Result<bool, kube::Error>
where
    K: Clone + DeserializeOwned + Debug + Resource<DynamicType = ()>,
{
    for _ in 0..LOOKS {
        if claim(api, name).await? {
            return Ok(true);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(false)
}

/// Unpacks and checks an inventory: it must be the canonical text of what its digest says.
fn read(digest: &Digest, compressed: &[u8]) -> Result<Inventory, Refusal> {
    let wrong = |what: &str| Refusal::bad_request(format!("the inventory {what}"));
    let decoder =
        zstd::stream::read::Decoder::new(compressed).map_err(|_| wrong("is not compressed with zstd"))?;
    let mut plain = Vec::new();
    let limit = u64::try_from(INVENTORY_PLAIN_LIMIT).expect("16 MiB fit");
    decoder.take(limit + 1).read_to_end(&mut plain).map_err(|_| wrong("cannot be decompressed"))?;
    if plain.len() > INVENTORY_PLAIN_LIMIT {
        return Err(Refusal::new(Reason::TooLarge, "the inventory is larger than 16 MiB"));
    }
    if Digest::of(&plain) != *digest {
        return Err(wrong("is another one than its digest says"));
    }
    let inventory: Inventory =
        serde_json::from_slice(&plain).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let mut canonical = inventory.clone();
    canonical.canonicalise();
    if canonical.digest() != *digest {
        return Err(wrong("is not in its canonical form"));
    }
    Ok(inventory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> Inventory {
        Inventory {
            architecture: "amd64".parse().unwrap(),
            lists: Digest::of(b""),
            interest: ["openssl".parse().unwrap()].into(),
            packages: vec![],
        }
    }

    #[test]
    fn an_inventory_must_be_what_its_digest_says() {
        let inventory = inventory();
        let compressed = muster_wire::compress(&inventory);
        assert_eq!(read(&inventory.digest(), &compressed), Ok(inventory.clone()));
        assert!(read(&Digest::of(b"other"), &compressed).is_err());
        assert!(read(&inventory.digest(), b"nonsense").is_err());
    }

    #[test]
    fn a_small_body_that_unpacks_to_a_huge_one_is_refused() {
        let zeros = vec![0_u8; INVENTORY_PLAIN_LIMIT + 1];
        let bomb = zstd::bulk::compress(&zeros, 1).unwrap();
        assert!(bomb.len() < 10_000);
        assert_eq!(read(&Digest::of(&zeros), &bomb).unwrap_err().reason, Reason::TooLarge);
    }
}
