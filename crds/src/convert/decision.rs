//! The planner's decision about a machine, as its FleetMachine shows it.

use muster_model::{
    ActivityName, Blocker, DebianVersion, Digest, Instant, MachinePlan, PackageName, RequirementVerdict,
    WantedItem, WantedSet,
};
use smol_str::SmolStr;

use super::{Reader, count, cut, packages, time};
use crate::{
    DecisionStatus, FieldError, MAX_LISTED_REQUIREMENTS, MAX_MESSAGE_CHARACTERS, ObjectReference,
    RequirementBaseline, RequirementStatus, WantedItemStatus, WantedStatus,
};

/// How many bytes of JSON a decision takes at most, but for its wanted set and holds, which must be whole.
///
/// Half of the 8 KiB that a FleetMachine's status is to stay under (design §4).
pub const DECISION_BYTES: usize = 4096;

/// How long one requirement's message may be: the machine's own message is the most actionable one's, in full.
const MAX_REQUIREMENT_MESSAGE: usize = 160;

/// What a decision says besides the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// The generation of the FleetMachine's spec that was planned from.
    pub observed_generation: i64,
    /// The unfinished activity, the one that starts now included.
    pub current_activity: Option<ActivityName>,
    /// The highest number ever used, the one that starts now included.
    pub highest_activity_number: u64,
    /// When the machine first converged.
    pub first_converged: Option<Instant>,
    /// The revision that was planned from.
    pub revision: Option<SmolStr>,
}

impl DecisionStatus {
    /// A plan as a FleetMachine shows it: the first requirements only, as many as there is room for, with honest totals.
    #[must_use]
    pub fn from_model(plan: &MachinePlan, decided: &Decided) -> Self {
        let MachinePlan { verdict, requirements, total, wanted, holds } = plan;
        let Decided {
            observed_generation,
            current_activity,
            highest_activity_number,
            first_converged,
            revision,
        } = decided;
        let mut decision = Self {
            observed_generation: Some(*observed_generation),
            verdict: verdict.name().to_owned(),
            rule: verdict.rule().to_owned(),
            reason: verdict.reason().to_owned(),
            message: cut(&verdict.lasting_message(), MAX_MESSAGE_CHARACTERS),
            until_time: verdict.until().map(time),
            blocker: verdict.blocker().as_ref().map(object_reference),
            requirements: requirements.iter().take(MAX_LISTED_REQUIREMENTS).map(requirement).collect(),
            requirements_not_converged: count(requirements.len()),
            requirements_total: count(*total),
            wanted: WantedStatus::default(),
            current_activity: current_activity.as_ref().map(ToString::to_string),
            highest_activity_number: *highest_activity_number,
            holds: Vec::new(),
            first_converged_time: first_converged.map(time),
            revision: revision.as_ref().map(ToString::to_string),
        };
        decision.fit();
        decision.wanted = WantedStatus::from_model(wanted);
        decision.holds = packages(holds);
        decision
    }

    /// Drops the least actionable requirements until it is small enough.
    fn fit(&mut self) {
        let size = |value: &RequirementStatus| serde_json::to_vec(value).map_or(0, |bytes| bytes.len() + 1);
        let rest = Self { requirements: Vec::new(), ..self.clone() };
        let mut total = serde_json::to_vec(&rest).map_or(0, |bytes| bytes.len());
        let mut kept = 0;
        for requirement in &self.requirements {
            total += size(requirement);
            if total > DECISION_BYTES {
                break;
            }
            kept += 1;
        }
        self.requirements.truncate(kept);
    }
}

fn object_reference(blocker: &Blocker) -> ObjectReference {
    ObjectReference { kind: blocker.kind.to_owned(), name: blocker.name.to_string() }
}

fn requirement(verdict: &RequirementVerdict) -> RequirementStatus {
    RequirementStatus {
        baseline: RequirementBaseline {
            kind: verdict.baseline.kind,
            name: verdict.baseline.name.to_string(),
        },
        resource: cut(&verdict.resource, 161),
        verdict: verdict.name().to_owned(),
        rule: verdict.rule().to_owned(),
        reason: verdict.reason().to_owned(),
        message: cut(&verdict.verdict.lasting_message(), MAX_REQUIREMENT_MESSAGE),
        installed: verdict.installed.as_ref().map(|text| cut(text, 256)),
        target: verdict.target.as_ref().map(|text| cut(text, 256)),
        until_time: verdict.until().map(time),
    }
}

impl WantedStatus {
    /// A wanted set as a FleetMachine shows it.
    #[must_use]
    pub fn from_model(wanted: &WantedSet) -> Self {
        let WantedSet { interest, items } = wanted;
        Self {
            digest: Some(wanted.digest().to_string()),
            interest: interest.iter().map(ToString::to_string).collect(),
            items: items
                .iter()
                .map(|WantedItem { package, version }| WantedItemStatus {
                    name: package.name.to_string(),
                    architecture: package.architecture.to_string(),
                    version: version.as_ref().map(DebianVersion::to_string),
                })
                .collect(),
        }
    }

    /// The wanted set.
    ///
    /// # Errors
    /// Everything that is wrong with it, another digest included.
    pub fn to_model(&self) -> Result<WantedSet, Vec<FieldError>> {
        const FIELD: &str = "status.decision.wanted";
        let mut reader = Reader::default();
        let interest: Option<_> = self
            .interest
            .iter()
            .map(|name| reader.read(format!("{FIELD}.interest"), "", PackageName::parse(name)))
            .collect();
        let mut items = Vec::new();
        for (at, WantedItemStatus { name, architecture, version }) in self.items.iter().enumerate() {
            let field = format!("{FIELD}.items[{at}]");
            let package = reader.package(&field, name, architecture);
            let version = reader.version(&format!("{field}.version"), version.as_deref());
            if let (Some(package), Some(version)) = (package, version) {
                items.push(WantedItem { package, version });
            }
        }
        let digest = match &self.digest {
            None => None,
            Some(digest) => reader.read(format!("{FIELD}.digest"), "", Digest::parse(digest)),
        };
        let wanted = reader.finish(|| Some(WantedSet { interest: interest?, items }))?;
        match digest {
            Some(digest) if digest != wanted.digest() => Err(vec![FieldError {
                field: format!("{FIELD}.digest"),
                rule: "A7",
                message: format!("it is not the digest of the set, which is {}", wanted.digest()),
            }]),
            Some(_) | None => Ok(wanted),
        }
    }
}
