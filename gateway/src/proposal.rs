//! Proposals: what apt on a machine said that its wanted set would do (rule A7).
//!
//! A proposal serves all machines with the same inventory and wanted set. One that lies harms nobody: each machine
//! simulates again before it acts, and refuses what differs.

use muster_crds::{PackageProposal, proposal_name};
use muster_wire::ProposalRequest;

use crate::enroll::manager;
use crate::fleet::{Fleet, Record};
use crate::gateway::Core;
use crate::inventory::claim_existing;
use crate::refusal::Refusal;

impl Core {
    /// A machine sends a proposal: for its own inventory and its own wanted set only.
    pub(crate) async fn propose(
        &self,
        fleet: &Fleet,
        record: &Record,
        request: ProposalRequest,
    ) -> Result<(), Refusal> {
        let ProposalRequest { session: _, key, proposal } = request;
        let seen = record.admit()?;
        if seen.reported.is_none_or(|reported| reported.inventory != key.inventory) {
            return Err(Refusal::not_yours(
                "that is not the inventory on record for this machine; report, then simulate",
            ));
        }
        if seen.wanted.is_none_or(|wanted| wanted.digest != key.wanted) {
            return Err(Refusal::not_yours(
                "that is not what is wanted of this machine any more; poll, then simulate",
            ));
        }
        let object = PackageProposal::from_model(&key, &proposal);
        match fleet.apis.proposals.create(&manager(), &object).await {
            Ok(_) => {
                self.metrics.proposals.inc();
                tracing::info!(machine = %record.name, proposal = %key.digest(), "proposal");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = claim_existing(&fleet.apis.proposals, &proposal_name(&key)).await;
                if there.map_err(|error| Refusal::unavailable("the proposal", &error))? {
                    return Ok(());
                }
                Err(Refusal::unavailable("the proposal", &std::io::Error::other("it was just deleted")))
            }
            Err(kube::Error::Api(status)) if status.is_invalid() => {
                Err(Refusal::bad_request(format!("the proposal is refused: {}", status.message)))
            }
            Err(error) => Err(Refusal::unavailable("the proposal", &error)),
        }
    }
}
