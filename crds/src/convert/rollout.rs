//! BaselineRollout: how items have spread.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use muster_model::{BaselineRef, DebianVersion, Item, ItemProgress, Rollout, Target, Uid};

use super::{Reader, baseline_reference, count, time};
use crate::{
    BaselineRollout, BaselineRolloutSpec, BaselineRolloutStatus, FieldError, MAX_ITEMS, RolloutItem,
    TARGET_ABSENT,
};

/// The name of a baseline's rollout: `pb-NAME` or `kb-NAME`.
#[must_use]
pub fn rollout_name(baseline: &BaselineRef) -> String {
    format!("{}{}", baseline.kind.rollout_prefix(), baseline.name)
}

impl BaselineRollout {
    /// The object to create for a baseline; its status comes after.
    #[must_use]
    pub fn new_for(baseline: &BaselineRef, uid: &Uid) -> Self {
        Self {
            metadata: ObjectMeta { name: Some(rollout_name(baseline)), ..ObjectMeta::default() },
            spec: BaselineRolloutSpec { baseline_ref: baseline_reference(baseline, Some(uid)) },
            status: None,
        }
    }

    /// How the baseline's items have spread.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn to_model(&self) -> Result<(BaselineRef, Rollout), Vec<FieldError>> {
        let mut reader = Reader::default();
        let baseline = reader.baseline("spec.baselineRef", &self.spec.baseline_ref);
        if baseline
            .as_ref()
            .is_some_and(|baseline| self.metadata.name.as_deref() != Some(&rollout_name(baseline)))
        {
            reader.refuse("metadata.name", "", "it must be pb- or kb- and the baseline's name");
        }
        let mut rollout = Rollout::default();
        for (at, item) in self.status.iter().flat_map(|status| &status.items).enumerate() {
            if let Some((item, progress)) = reader.item(&format!("status.items[{at}]"), item) {
                rollout.items.insert(item, progress);
            }
        }
        reader.finish(|| Some((baseline?, rollout)))
    }
}

impl Reader {
    fn item(&mut self, field: &str, item: &RolloutItem) -> Option<(Item, ItemProgress)> {
        let RolloutItem { package, architecture, target, wanted, done, failed, barred_time } = item;
        let package = self.package(field, package, architecture);
        let target = match target.as_str() {
            TARGET_ABSENT => Some(Target::Absent),
            version => {
                self.read(format!("{field}.target"), "V1", DebianVersion::parse(version)).map(Target::Version)
            }
        };
        let progress = ItemProgress {
            wanted: *wanted as usize,
            done: *done as usize,
            failed: *failed as usize,
            barred: barred_time.as_ref().map(|time| time.0),
        };
        Some((Item { package: package?, target: target? }, progress))
    }
}

impl BaselineRolloutStatus {
    /// What is recorded of a rollout; conditions are the controller's to fold.
    ///
    /// Where there are more items than an object holds, barred ones come first: forgetting one would let it start again.
    #[must_use]
    pub fn from_model(rollout: &Rollout, observed_generation: i64) -> Self {
        let all = || rollout.items.iter();
        let (barred, free): (Vec<_>, Vec<_>) = all().partition(|(_, progress)| progress.barred.is_some());
        let mut items: Vec<RolloutItem> =
            barred.into_iter().chain(free).take(MAX_ITEMS).map(rollout_item).collect();
        items.sort_by(|a, b| {
            (&a.package, &a.architecture, &a.target).cmp(&(&b.package, &b.architecture, &b.target))
        });
        Self {
            observed_generation: Some(observed_generation),
            items,
            items_total: count(rollout.items.len()),
            items_done: count(all().filter(|(_, progress)| progress.done >= progress.wanted).count()),
            items_barred: count(all().filter(|(_, progress)| progress.barred.is_some()).count()),
            conditions: Vec::new(),
        }
    }
}

fn rollout_item((item, progress): (&Item, &ItemProgress)) -> RolloutItem {
    let Item { package, target } = item;
    let ItemProgress { wanted, done, failed, barred } = progress;
    RolloutItem {
        package: package.name.to_string(),
        architecture: package.architecture.to_string(),
        target: match target {
            Target::Version(version) => version.to_string(),
            Target::Absent => TARGET_ABSENT.to_owned(),
        },
        wanted: count(*wanted),
        done: count(*done),
        failed: count(*failed),
        barred_time: barred.map(time),
    }
}
