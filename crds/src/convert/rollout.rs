//! BaselineRollout: how items have spread.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use muster_model::{
    BaselineRef, DebianVersion, Item, ItemProgress, ObjectName, REST, Rollout, Target, Uid, WaveProgress,
};

use super::{Reader, baseline_reference, count, time};
use crate::{
    BaselineRollout, BaselineRolloutSpec, BaselineRolloutStatus, FieldError, MAX_ITEMS, MAX_ITEMS_WITH_WAVES,
    RolloutItem, RolloutItemWave, TARGET_ABSENT,
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
        let RolloutItem {
            package,
            architecture,
            target,
            wanted,
            done,
            failed,
            barred_time,
            seen_time,
            released_time,
            approved_time,
            resumed_time,
            paused_time,
            waves,
        } = item;
        let package = self.package(field, package, architecture);
        let target = self.target(&format!("{field}.target"), target);
        let mut of_waves = BTreeMap::new();
        for (at, wave) in waves.iter().enumerate() {
            of_waves.extend(self.item_wave(&format!("{field}.waves[{at}]"), wave));
        }
        let at = |time: &Option<Time>| time.as_ref().map(|time| time.0);
        let progress = ItemProgress {
            wanted: *wanted as usize,
            done: *done as usize,
            failed: *failed as usize,
            barred: at(barred_time),
            seen: at(seen_time),
            released: at(released_time),
            approved: at(approved_time),
            resumed: at(resumed_time),
            paused: at(paused_time),
            waves: of_waves,
        };
        Some((Item { package: package?, target: target? }, progress))
    }

    fn item_wave(&mut self, field: &str, wave: &RolloutItemWave) -> Option<(ObjectName, WaveProgress)> {
        let RolloutItemWave { name, wanted, done, skipped, failed, since_time, holders, zone, passed_time } =
            wave;
        let name = self.read(format!("{field}.name"), "O1", ObjectName::parse(name))?;
        let progress = WaveProgress {
            wanted: *wanted as usize,
            done: *done as usize,
            skipped: *skipped as usize,
            failed: *failed as usize,
            since: since_time.as_ref().map(|time| time.0),
            // One that cannot be read is as good as none: the number of those that have it says as much.
            holders: holders.as_ref().and_then(|holders| u64::from_str_radix(holders, 16).ok()),
            zone: zone.as_ref().map(Into::into),
            passed: passed_time.as_ref().map(|time| time.0),
        };
        Some((name, progress))
    }

    /// A version, or `absent`.
    pub(super) fn target(&mut self, field: &str, target: &str) -> Option<Target> {
        match target {
            TARGET_ABSENT => Some(Target::Absent),
            version => self.read(field, "V1", DebianVersion::parse(version)).map(Target::Version),
        }
    }
}

impl BaselineRolloutStatus {
    /// What is recorded of a rollout; conditions are the controller's to fold.
    ///
    /// Where there are more items than an object holds, barred ones come first: forgetting one would let it start again. Then
    /// come those on their way through the waves, which would otherwise begin anew.
    #[must_use]
    pub fn from_model(rollout: &Rollout, observed_generation: i64) -> Self {
        let all = || rollout.items.iter();
        let mut kept: Vec<(&Item, &ItemProgress)> = all().collect();
        kept.sort_by_key(|(_, progress)| (progress.barred.is_none(), progress.released.is_some()));
        kept.truncate(MAX_ITEMS);
        let mut items: Vec<RolloutItem> = kept
            .into_iter()
            .enumerate()
            .map(|(place, (item, progress))| {
                let says_waves = progress.released.is_none() || place < MAX_ITEMS_WITH_WAVES;
                rollout_item(item, progress, says_waves)
            })
            .collect();
        items.sort_by(|a, b| {
            (&a.package, &a.architecture, &a.target).cmp(&(&b.package, &b.architecture, &b.target))
        });
        Self {
            observed_generation: Some(observed_generation),
            items,
            items_total: count(rollout.items.len()),
            items_done: count(all().filter(|(_, progress)| progress.done >= progress.wanted).count()),
            items_released: count(all().filter(|(_, progress)| progress.released.is_some()).count()),
            wave: first_wave(rollout),
            items_barred: count(all().filter(|(_, progress)| progress.barred.is_some()).count()),
            conditions: Vec::new(),
        }
    }
}

/// The wave in which most of what is on its way is: where to look first.
fn first_wave(rollout: &Rollout) -> String {
    let open = rollout.items.values().filter(|progress| progress.released.is_none());
    let mut waves: BTreeMap<&str, usize> = BTreeMap::new();
    for progress in open {
        let mut begun = progress.waves.iter().filter(|(_, wave)| wave.passed.is_none() && wave.wanted > 0);
        if let Some((name, _)) = begun.next() {
            *waves.entry(name.as_str()).or_insert(0) += 1;
        }
    }
    let most = waves.iter().max_by_key(|(name, items)| (**items, std::cmp::Reverse(**name)));
    match (most, rollout.items.is_empty()) {
        (Some((name, _)), _) => (*name).to_owned(),
        (None, false) => REST.to_owned(),
        (None, true) => String::new(),
    }
}

fn rollout_item(item: &Item, progress: &ItemProgress, says_waves: bool) -> RolloutItem {
    let Item { package, target } = item;
    let ItemProgress { wanted, done, failed, barred, seen, released, approved, resumed, paused, waves } =
        progress;
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
        seen_time: seen.map(time),
        released_time: released.map(time),
        approved_time: approved.map(time),
        resumed_time: resumed.map(time),
        paused_time: paused.map(time),
        waves: waves.iter().filter(|_| says_waves).map(item_wave).collect(),
    }
}

fn item_wave((name, progress): (&ObjectName, &WaveProgress)) -> RolloutItemWave {
    let WaveProgress { wanted, done, skipped, failed, since, holders, zone, passed } = progress;
    RolloutItemWave {
        name: name.to_string(),
        wanted: count(*wanted),
        done: count(*done),
        skipped: count(*skipped),
        failed: count(*failed),
        since_time: since.map(time),
        holders: holders.map(|holders| format!("{holders:x}")),
        zone: zone.as_ref().map(ToString::to_string),
        passed_time: passed.map(time),
    }
}
