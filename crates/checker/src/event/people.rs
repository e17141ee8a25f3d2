//! What people decide besides what Git says: approvals and overrides.

use muster_model::{Architecture, BaselineRef, DebianVersion, Instant, ObjectName, PackageName};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Selector;
use super::text::instant;

/// An item as people name it; what is absent matches all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemPattern {
    /// Of which baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineRef>,
    /// The package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageName>,
    /// Its architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// The target version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<DebianVersion>,
    /// No package, but the reboot that the baseline asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reboot: bool,
}

/// A RolloutApproval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// Its name.
    pub name: ObjectName,
    /// Of which baseline's rollout.
    pub baseline: BaselineRef,
    /// What it does.
    pub action: ApprovalAction,
    /// Of which item; absent: of all of the baseline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemPattern>,
    /// For which wave; absent: for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<SmolStr>,
    /// When it was created.
    #[serde(with = "instant")]
    pub created: Instant,
    /// Who.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub by: SmolStr,
    /// Why.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub reason: SmolStr,
}

/// What a RolloutApproval does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalAction {
    /// The item may enter waves that ask for approval (rule O7).
    Approve,
    /// Nothing of it starts.
    Pause,
    /// A pause or a bar ends (rule O3).
    Resume,
}

/// A WindowOverride (rule W9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    /// Its name.
    pub name: ObjectName,
    /// The windows and freezes that are passed; absent: all that may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<ObjectName>>,
    /// The items that pass; empty: none.
    pub items: Vec<ItemPattern>,
    /// On which machines; absent: on all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// When it was created.
    #[serde(with = "instant")]
    pub created: Instant,
    /// When it ends.
    #[serde(with = "instant")]
    pub until: Instant,
    /// Who.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub by: SmolStr,
    /// Why.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub reason: SmolStr,
}
