//! How far items have come, as their rollouts' records have it.

use muster_model::{BaselineRef, DebianVersion, Instant, PackageKey};
use serde::{Deserialize, Serialize};

use super::text::instant;

/// Which items of a baseline have passed every wave and zone and are not barred: all of them, whenever that changed. What
/// stands here stays enforced where a newer target has yet to come (rule O4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Released {
    /// Of which baseline.
    pub baseline: BaselineRef,
    /// The items.
    pub items: Vec<ReleasedItem>,
    /// It was on record before the writer could look: how it came to be is not judged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub found: bool,
}

/// A released item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleasedItem {
    /// The package.
    pub package: PackageKey,
    /// The version; absent: the package is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DebianVersion>,
    /// Since when, in whole seconds.
    #[serde(with = "instant")]
    pub since: Instant,
}
