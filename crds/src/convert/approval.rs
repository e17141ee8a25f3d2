//! RolloutApproval.

use kube::api::ObjectMeta;
use muster_model::{Architecture, Items, PackageName};

use super::Reader;
use crate::{ApprovedItem, FieldError, RolloutApproval, RolloutApprovalSpec};

impl RolloutApproval {
    /// What the person said.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn to_model(&self) -> Result<muster_model::RolloutApproval, Vec<FieldError>> {
        let RolloutApprovalSpec { baseline_ref, action, item, by, reason: _ } = &self.spec;
        let mut reader = Reader::default();
        let name = reader.name(&self.metadata);
        let baseline = reader.baseline("spec.baselineRef", baseline_ref);
        let items = match item {
            None => Some(Items::All),
            Some(item) => reader.approved_item("spec.item", item),
        };
        // An object that no server has seen yet has no time: it counts from the beginning of time, before everything.
        let created =
            self.metadata.creation_timestamp.as_ref().map_or(muster_model::Instant::MIN, |time| time.0);
        reader.finish(|| {
            Some(muster_model::RolloutApproval {
                name: name?,
                baseline: baseline?,
                items: items?,
                action: *action,
                by: by.into(),
                created,
                applied: is_applied(&self.metadata),
            })
        })
    }
}

/// Whether whoever made it has it in a file: by `kubectl apply`, server-side apply, or as what owns it says.
fn is_applied(metadata: &ObjectMeta) -> bool {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let annotated = metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LAST_APPLIED));
    let mut managers = metadata.managed_fields.iter().flatten();
    annotated
        || managers.any(|entry| entry.operation.as_deref() == Some("Apply"))
        || metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
}

impl Reader {
    fn approved_item(&mut self, field: &str, item: &ApprovedItem) -> Option<Items> {
        let ApprovedItem { package, architecture, target } = item;
        let package = self.read(format!("{field}.package"), "", PackageName::parse(package));
        let architecture = match architecture {
            None => Some(None),
            Some(architecture) => {
                self.read(format!("{field}.architecture"), "", Architecture::parse(architecture)).map(Some)
            }
        };
        let target = match target {
            None => Some(None),
            Some(target) => self.target(&format!("{field}.target"), target).map(Some),
        };
        Some(Items::Of { package: package?, architecture: architecture?, target: target? })
    }
}
