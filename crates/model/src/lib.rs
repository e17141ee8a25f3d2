//! Muster's values: names, versions, windows, machines, activities, verdicts. Once made they cannot be wrong.
//!
//! A [`Snapshot`] is everything that a decision about one namespace depends on; a [`Plan`] is the decision. No I/O,
//! no clock, no randomness here; resources (`muster-crds`) and messages (`muster-wire`) turn themselves into these.

mod activity;
mod aftermath;
mod baseline;
mod explain;
mod guard;
mod inventory;
mod kernel;
mod lasting;
mod machine;
mod names;
pub mod openness;
mod overrides;
mod phasing;
mod pools;
mod quantity;
mod relations;
mod rollout;
mod schedule;
mod selector;
mod shared;
mod snapshot;
mod spans;
mod uid;
mod verdict;
mod version;

pub use activity::*;
pub use baseline::*;
pub use explain::MAX_MESSAGE_BYTES;
pub use guard::*;
pub use inventory::*;
pub use kernel::*;
pub use machine::*;
pub use names::*;
pub use overrides::*;
pub use phasing::*;
pub use pools::*;
pub use quantity::*;
pub use relations::*;
pub use rollout::*;
pub use schedule::*;
pub use selector::*;
pub use shared::*;
pub use snapshot::*;
pub use spans::*;
pub use uid::*;
pub use verdict::*;
pub use version::*;

/// A point in time.
pub use jiff::Timestamp as Instant;
