//! PackageInventory: compressed, named by its digest.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use muster_model::{Digest, Inventory};

use super::count;
use crate::{Encoding, PackageInventory, PackageInventorySpec};

/// How large an inventory's JSON may be, in bytes: three times that of a desktop with 6,000 packages and 1 KiB for each.
pub const MAX_INVENTORY_BYTES: usize = 18 << 20;

/// How large the compressed list may be in base64: an object in etcd has at most 1.5 MiB.
const MAX_DATA_BYTES: usize = 1_400_000;

/// zstd's level: a list of 3,000 packages takes a few milliseconds and becomes a tenth.
const LEVEL: i32 = 6;

/// The name of the object that holds an inventory: 160 bits of its digest, which nobody can hit twice by chance or by
/// work; the whole digest is in the spec.
#[must_use]
pub fn inventory_name(digest: &Digest) -> String {
    digest.hex()[..40].to_owned()
}

/// An inventory cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// It does not fit into an object.
    #[error(
        "the package list takes {size} bytes, compressed, and an object holds {MAX_DATA_BYTES}: name fewer packages in baselines, or remove package sources"
    )]
    TooLarge {
        /// Its size in base64.
        size: usize,
    },
    /// It becomes too large when it is unpacked.
    #[error("the package list takes more than {MAX_INVENTORY_BYTES} bytes: the machine must report it again")]
    Bomb,
    /// Not base64.
    #[error("the package list is not base64: the machine must report it again")]
    Base64(#[source] base64::DecodeError),
    /// Not zstd.
    #[error("the package list cannot be unpacked: the machine must report it again")]
    Zstd(#[source] std::io::Error),
    /// Not an inventory.
    #[error("the package list cannot be read: the machine must report it again")]
    Json(#[source] serde_json::Error),
    /// Another list than its digest says.
    #[error("the package list's digest is {found}, not {written}: the machine must report it again")]
    Digest {
        /// What it is.
        found: Digest,
        /// What the object says.
        written: String,
    },
}

impl PackageInventory {
    /// The object to create for an inventory.
    ///
    /// # Errors
    /// If it does not fit into an object.
    pub fn from_model(inventory: &Inventory) -> Result<Self, InventoryError> {
        let json = serde_json::to_vec(inventory).map_err(InventoryError::Json)?;
        if json.len() > MAX_INVENTORY_BYTES {
            return Err(InventoryError::Bomb);
        }
        let data = STANDARD.encode(zstd::encode_all(json.as_slice(), LEVEL).map_err(InventoryError::Zstd)?);
        if data.len() > MAX_DATA_BYTES {
            return Err(InventoryError::TooLarge { size: data.len() });
        }
        let digest = inventory.digest();
        Ok(Self {
            metadata: ObjectMeta { name: Some(inventory_name(&digest)), ..ObjectMeta::default() },
            spec: PackageInventorySpec {
                digest: digest.to_string(),
                architecture: inventory.architecture.to_string(),
                packages: count(inventory.packages.len()),
                encoding: Encoding::Zstd,
                data,
            },
        })
    }

    /// The inventory, whose digest is what the object says.
    ///
    /// # Errors
    /// If the list cannot be unpacked or read, is too large, or is another than the digest says.
    pub fn to_model(&self) -> Result<Inventory, InventoryError> {
        let PackageInventorySpec { digest, architecture: _, packages: _, encoding: Encoding::Zstd, data } =
            &self.spec;
        if data.len() > MAX_DATA_BYTES {
            return Err(InventoryError::TooLarge { size: data.len() });
        }
        let packed = STANDARD.decode(data).map_err(InventoryError::Base64)?;
        let mut json = Vec::new();
        let unpacked = zstd::Decoder::new(packed.as_slice()).map_err(InventoryError::Zstd)?;
        unpacked.take(MAX_INVENTORY_BYTES as u64 + 1).read_to_end(&mut json).map_err(InventoryError::Zstd)?;
        if json.len() > MAX_INVENTORY_BYTES {
            return Err(InventoryError::Bomb);
        }
        let inventory: Inventory = serde_json::from_slice(&json).map_err(InventoryError::Json)?;
        let found = inventory.digest();
        if found.to_string() != *digest {
            return Err(InventoryError::Digest { found, written: digest.clone() });
        }
        Ok(inventory)
    }
}
