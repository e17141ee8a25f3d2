//! PackageInventory: a package list with what is on offer, immutable, shared by all machines that have it.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::schema;

/// A package list with what is on offer; immutable, named by its digest, shared by all machines that have it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "PackageInventory",
    plural = "packageinventories",
    singular = "packageinventory",
    shortname = "pi",
    category = "muster",
    namespaced,
    derive = "PartialEq",
    doc = "A package list with what is on offer; immutable, named by its digest, shared by all machines that have it.",
    printcolumn(name = "Packages", type_ = "integer", json_path = ".spec.packages"),
    printcolumn(name = "Architecture", type_ = "string", json_path = ".spec.architecture"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".spec.digest", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.digest == oldSelf.digest").message("an inventory never changes: another list is another inventory"))]
pub struct PackageInventorySpec {
    /// Digest of the list, before compression.
    #[schemars(schema_with = "schema::digest")]
    pub digest: String,
    /// The machines' own architecture.
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: String,
    /// How many packages are in the list.
    pub packages: u32,
    /// How the list is encoded.
    #[schemars(schema_with = "schema::encoding")]
    pub encoding: Encoding,
    /// The list as JSON, compressed, in base64; `muster` prints it.
    #[schemars(schema_with = "schema::base64")]
    pub data: String,
}

/// How an inventory's list is encoded.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// zstd.
    Zstd,
}
