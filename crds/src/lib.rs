//! Muster's resource types, `muster.dev/v1alpha1`: what people and programs write into the Kubernetes API.
//!
//! The doc comment of every field is its text in `kubectl explain`. Conversions to and from `muster-model` stand with
//! them, in `convert`; [`all_crds`] gives the definitions, of which `crds/yaml/` has the generated files.
//!
//! Deliberately not here: any client, and any decision.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column of kube's derive has a type and a priority"
)]
#![allow(unreachable_pub, reason = "kube's KubeSchema derive makes private twins of public structs")]

mod activity;
mod baseline_rollout;
mod common;
mod convert;
mod decision;
mod definitions;
mod disruption_budget;
mod enrollment_token;
mod fleet_machine;
mod fleet_policy;
mod git_source;
mod kernel_baseline;
mod maintenance_window;
pub mod names;
mod package_baseline;
mod package_inventory;
mod package_proposal;
pub mod presence;
mod reported;
mod rollout_approval;
mod schema;
mod window_override;

pub use activity::*;
pub use baseline_rollout::*;
pub use common::*;
pub use convert::*;
pub use decision::*;
pub use definitions::all_crds;
pub use disruption_budget::*;
pub use enrollment_token::*;
pub use fleet_machine::*;
pub use fleet_policy::*;
pub use git_source::*;
pub use kernel_baseline::*;
pub use maintenance_window::*;
pub use package_baseline::*;
pub use package_inventory::*;
pub use package_proposal::*;
pub use reported::*;
pub use rollout_approval::*;
pub use window_override::*;
