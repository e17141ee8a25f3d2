//! PackageProposal: what apt on a machine said that a wanted set would do.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PackageChange, schema};

/// What apt said that a wanted set would do to an inventory; named by the digest of the two, good for all machines that
/// share them.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "PackageProposal",
    plural = "packageproposals",
    singular = "packageproposal",
    shortname = "pp",
    category = "muster",
    namespaced,
    derive = "PartialEq",
    doc = "What apt said that a wanted set would do to an inventory; named by the digest of the two, good for all machines that share them.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Refused", type_ = "string", json_path = ".spec.refused.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Inventory", type_ = "string", json_path = ".spec.inventory", priority = 1),
    printcolumn(name = "Wanted", type_ = "string", json_path = ".spec.wanted", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("a proposal never changes: another answer is another proposal"),
    validation = Rule::new("(self.type == 'Transaction') == has(self.transaction)")
        .message("type Transaction takes transaction, and only type Transaction does"),
    validation = Rule::new("(self.type == 'Refused') == has(self.refused)")
        .message("type Refused takes refused, and only type Refused does")
)]
pub struct PackageProposalSpec {
    /// Digest of the inventory that was simulated on.
    #[schemars(schema_with = "schema::digest")]
    pub inventory: String,
    /// Digest of the wanted set that was simulated.
    #[schemars(schema_with = "schema::digest")]
    pub wanted: String,
    /// Transaction: apt would do this. Refused: apt would not.
    #[serde(rename = "type")]
    pub type_: ProposalType,
    /// What apt would do, with type Transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<ProposedTransaction>,
    /// Why apt would not, with type Refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<ProposalRefused>,
}

/// The kinds of answer that apt gives.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalType {
    /// It would do this.
    Transaction,
    /// It would not.
    Refused,
}

/// An exact transaction.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProposedTransaction {
    /// Every change, asked for or not, sorted by package.
    #[serde(default)]
    #[schemars(length(max = 2000), extend("x-kubernetes-list-type" = "atomic"))]
    pub changes: Vec<PackageChange>,
}

/// Why apt would not.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProposalRefused {
    /// apt's own words.
    #[schemars(length(max = 2048))]
    pub message: String,
}
