//! What is enforced where a newer target has yet to come: the last released one (rules O4, O5).
//!
//! Only upwards, and towards what is asked for: a machine that is beyond the last released target is left where it is, since
//! its own target is further still; and where the target is below what was released, the revision turns back from that, so
//! that it goes nowhere any more. And only where the version is still on offer there.

use std::rc::Rc;

use muster_model::{DebianVersion, Item, PackageKey, PackageWish, Target};

use crate::case::Case;
use crate::evaluate::Evaluation;
use crate::memo::Memo;
use crate::merge::Requirement;
use crate::rollout::{Rollouts, Track, keep};
use crate::select::Resources;
use crate::target::{Judged, Outcome, is_offered};

/// The targets that take the place of those that wait: the requirement's number, and the version.
type Places = Vec<(usize, DebianVersion)>;

/// Evaluations with the last released targets in place of those that wait; machines that share one, share it so, too.
#[derive(Default)]
pub(crate) struct Lowered<'a> {
    known: Memo<(*const Evaluation<'a>, Places), Evaluation<'a>>,
}

impl Rollouts {
    /// The machine's case with its last released targets, where newer ones have yet to come.
    pub(crate) fn lower<'a>(
        &self,
        resources: &Resources<'_>,
        lowered: &Lowered<'a>,
        case: &Case<'a>,
    ) -> Option<Case<'a>> {
        let is_released = |place: &usize| self.outlook(resources, case, *place).last_released.is_some();
        let open = case.evaluation.open.iter().copied();
        let released = case.evaluation.released.get_or_init(|| open.filter(is_released).collect());
        let places = released.iter().copied();
        let places: Places =
            places.filter_map(|place| Some((place, self.instead(resources, case, place)?))).collect();
        if places.is_empty() {
            return None;
        }
        let key = (Rc::as_ptr(&case.evaluation), places);
        Some(case.with(lowered.known.of(key, |(_, places)| case.evaluation.with(places))))
    }

    /// The last released version of a requirement (a number) whose target has yet to come to the machine.
    pub(crate) fn instead(
        &self,
        resources: &Resources<'_>,
        case: &Case<'_>,
        place: usize,
    ) -> Option<DebianVersion> {
        let requirement = &case.merged.enforced[place];
        let outlook = self.outlook(resources, case, place);
        let version = outlook.last_released.as_ref()?;
        // An upgrade stays within what names the package.
        let named = case.merged.about(&requirement.key);
        if named.is_some_and(|named| !named.version.satisfied_by(version)) && place >= case.merged.named {
            return None;
        }
        let package = case.evaluation.inventory?.package(&requirement.key)?;
        if !is_offered(package, version) {
            return None;
        }
        self.gate(resources, case, place)?;
        Some(version.clone())
    }
}

impl Rollouts {
    /// The last released version of a requirement's package, where all who ask for it agree and it is above what is installed,
    /// on the way to the target.
    pub(crate) fn last_released(&self, requirement: &Requirement, judged: &Judged) -> Option<&DebianVersion> {
        let Outcome::Change(Some(target)) = &judged.outcome else { return None };
        if requirement.wish == PackageWish::Absent {
            return None;
        }
        let mut all =
            requirement.by.iter().map(|by| self.tracks[*by].last_released(&requirement.key, target));
        let version = all.next()??;
        let agree = all.all(|other| other == Some(version));
        (agree && judged.installed.as_ref() < Some(version) && version < target).then_some(version)
    }
}

impl Track {
    /// The newest released version of a package, other than `target`, that is not barred.
    fn last_released(&self, package: &PackageKey, target: &DebianVersion) -> Option<&DebianVersion> {
        let released = keep::of_package(&self.items, package).filter_map(|(item, progress)| {
            let Item { package: _, target: Target::Version(version) } = item else { return None };
            let stopped = progress.barred.is_some() || self.pauses.contains_key(item);
            Some((progress.released.filter(|_| !stopped && version != target)?, version))
        });
        released.max().map(|(_, version)| version)
    }
}
