//! PackageProposal: what apt said, named by what it was asked.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use muster_model::{Digest, Proposal, ProposalKey};

use super::activity::package_change;
use super::{Reader, cut};
use crate::{
    FieldError, PackageProposal, PackageProposalSpec, ProposalRefused, ProposalType, ProposedTransaction,
};

/// How many changes a proposal holds: as many as a step. A transaction of more is refused, with the number.
pub const MAX_CHANGES: usize = 2000;

/// The longest refusal, in characters.
const MAX_REFUSAL: usize = 2048;

/// The name of the object that holds a proposal; as [`inventory_name`](crate::inventory_name), of the digest of the two.
#[must_use]
pub fn proposal_name(key: &ProposalKey) -> String {
    key.digest().hex()[..40].to_owned()
}

impl PackageProposal {
    /// The object to create for a proposal.
    #[must_use]
    pub fn from_model(key: &ProposalKey, proposal: &Proposal) -> Self {
        let ProposalKey { inventory, wanted } = key;
        let refused = |message: &str| {
            (ProposalType::Refused, None, Some(ProposalRefused { message: cut(message, MAX_REFUSAL) }))
        };
        let (type_, transaction, refused) = match proposal {
            Proposal::Transaction { changes } if changes.len() > MAX_CHANGES => refused(&format!(
                "the transaction would change {} packages, and a step holds {MAX_CHANGES}: ask for less at a time",
                changes.len()
            )),
            Proposal::Transaction { changes } => {
                let changes = changes.iter().map(package_change).collect();
                (ProposalType::Transaction, Some(ProposedTransaction { changes }), None)
            }
            Proposal::Refused { message } => refused(message),
        };
        Self {
            metadata: ObjectMeta { name: Some(proposal_name(key)), ..ObjectMeta::default() },
            spec: PackageProposalSpec {
                inventory: inventory.to_string(),
                wanted: wanted.to_string(),
                type_,
                transaction,
                refused,
            },
        }
    }

    /// The proposal, and what it is about.
    ///
    /// # Errors
    /// Everything that is wrong with it, another name than its digests give included.
    pub fn to_model(&self) -> Result<(ProposalKey, Proposal), Vec<FieldError>> {
        let PackageProposalSpec { inventory, wanted, type_, transaction, refused } = &self.spec;
        let mut reader = Reader::default();
        let inventory = reader.read("spec.inventory", "", Digest::parse(inventory));
        let wanted = reader.read("spec.wanted", "", Digest::parse(wanted));
        let key = (|| Some(ProposalKey { inventory: inventory?, wanted: wanted? }))();
        if key.as_ref().is_some_and(|key| self.metadata.name.as_deref() != Some(&proposal_name(key))) {
            reader.refuse("metadata.name", "A7", "it must be the digest of inventory and wanted set");
        }
        let proposal = match (type_, transaction, refused) {
            (ProposalType::Transaction, Some(ProposedTransaction { changes }), None) => reader
                .changes("spec.transaction.changes", changes)
                .map(|changes| Proposal::Transaction { changes }),
            (ProposalType::Refused, None, Some(ProposalRefused { message })) => {
                Some(Proposal::Refused { message: message.clone() })
            }
            (ProposalType::Transaction | ProposalType::Refused, _, _) => {
                reader.refuse("spec", "", "exactly the member that belongs to its type must be there");
                None
            }
        };
        reader.finish(|| Some((key?, proposal?)))
    }
}
