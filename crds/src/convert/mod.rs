//! From resources to the model's values and back: parsed once, here; after that they cannot be wrong.
//!
//! Deliberately not here: what the schemas check by themselves, and any default (schemas fill those in).

mod activity;
mod approval;
mod baselines;
mod decision;
mod guards;
mod inventory;
mod machine;
mod overrides;
mod proposal;
mod rollout;
mod waves;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, MicroTime, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use muster_model::{
    Architecture, BaselineRef, DebianVersion, GoDuration, LabelTest, ObjectName, PackageKey, PackageName,
    Provenance, SelectorError, Share, Uid,
};
use smol_str::SmolStr;

pub use decision::{DECISION_BYTES, Decided};
pub use inventory::{InventoryError, MAX_INVENTORY_BYTES, inventory_name};
pub use proposal::{MAX_CHANGES, proposal_name};
pub use rollout::rollout_name;

use crate::{BaselineReference, FieldError, PackageReference, names};

/// The uid of a resource that no API server has seen yet, such as one read from a folder.
pub const UID_UNSAVED: &str = "unsaved";

/// Collects what is wrong, so that all of it is said at once.
#[derive(Default)]
struct Reader {
    errors: Vec<FieldError>,
}

impl Reader {
    /// Records the error, if it is one.
    fn read<T, E: Error>(
        &mut self,
        field: impl Into<String>,
        rule: &'static str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(field, rule, chain(&error));
                None
            }
        }
    }

    /// Records that a field is wrong.
    fn refuse(&mut self, field: impl Into<String>, rule: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), rule, message: message.into() });
    }

    /// What was read, unless something was wrong. `value` may be `None` only if an error was recorded.
    fn finish<T>(self, value: impl FnOnce() -> Option<T>) -> Result<T, Vec<FieldError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        Ok(value().expect("what could not be read was recorded as an error"))
    }

    fn name(&mut self, meta: &ObjectMeta) -> Option<ObjectName> {
        self.read("metadata.name", "", ObjectName::parse(meta.name.as_deref().unwrap_or_default()))
    }

    /// The uid; [`UID_UNSAVED`] where the API server gave none yet.
    fn uid(&mut self, meta: &ObjectMeta) -> Option<Uid> {
        self.read("metadata.uid", "", Uid::parse(meta.uid.as_deref().unwrap_or(UID_UNSAVED)))
    }

    fn duration(&mut self, field: &str, text: &str) -> Option<SignedDuration> {
        self.read(field, "", GoDuration::parse(text)).map(GoDuration::length)
    }

    fn share(&mut self, field: &str, share: &IntOrString) -> Option<Share> {
        let share = match share {
            IntOrString::Int(count) => match u64::try_from(*count) {
                Ok(count) => Share::count(count),
                Err(_) => Share::parse(&count.to_string()),
            },
            IntOrString::String(text) => Share::parse(text),
        };
        self.read(field, "B1", share)
    }

    fn selector(&mut self, selector: &LabelSelector) -> Option<muster_model::LabelSelector> {
        self.selector_at("spec.machineSelector", selector)
    }

    fn selector_at(&mut self, field: &str, selector: &LabelSelector) -> Option<muster_model::LabelSelector> {
        self.read(field, "W7", read_selector(selector))
    }

    fn package(&mut self, field: &str, name: &str, architecture: &str) -> Option<PackageKey> {
        let name = self.read(format!("{field}.name"), "", PackageName::parse(name));
        let architecture = self.read(format!("{field}.architecture"), "", Architecture::parse(architecture));
        Some(PackageKey { name: name?, architecture: architecture? })
    }

    fn packages<C: FromIterator<PackageKey>>(
        &mut self,
        field: &str,
        packages: &[PackageReference],
    ) -> Option<C> {
        let each = packages.iter().enumerate();
        each.map(|(at, package)| {
            self.package(&format!("{field}[{at}]"), &package.name, &package.architecture)
        })
        .collect()
    }

    /// An optional version: `Some(None)` where none is written.
    fn version(&mut self, field: &str, version: Option<&str>) -> Option<Option<DebianVersion>> {
        match version {
            None => Some(None),
            Some(text) => self.read(field, "V1", DebianVersion::parse(text)).map(Some),
        }
    }

    fn baseline(&mut self, field: &str, baseline: &BaselineReference) -> Option<BaselineRef> {
        let name = self.read(format!("{field}.name"), "", ObjectName::parse(&baseline.name));
        Some(BaselineRef { kind: baseline.kind, name: name? })
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[derive(Debug, thiserror::Error)]
enum SelectorProblem {
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error("{operator:?} is no operator: write In, NotIn, Exists or DoesNotExist")]
    Operator { operator: String },
    #[error("the expression on label {key:?} has values, which {operator} does not take")]
    Values { key: String, operator: String },
}

fn read_selector(selector: &LabelSelector) -> Result<muster_model::LabelSelector, SelectorProblem> {
    let LabelSelector { match_labels, match_expressions } = selector;
    let mut terms: Vec<(SmolStr, LabelTest)> = Vec::new();
    for (key, value) in match_labels.iter().flatten() {
        terms.push((key.into(), LabelTest::Is(value.into())));
    }
    for expression in match_expressions.iter().flatten() {
        let values: BTreeSet<SmolStr> = expression.values.iter().flatten().map(SmolStr::from).collect();
        let test = match expression.operator.as_str() {
            "In" => LabelTest::In(values),
            "NotIn" => LabelTest::NotIn(values),
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                return Err(SelectorProblem::Values {
                    key: expression.key.clone(),
                    operator: expression.operator.clone(),
                });
            }
            "Exists" => LabelTest::Exists,
            "DoesNotExist" => LabelTest::DoesNotExist,
            operator => return Err(SelectorProblem::Operator { operator: operator.to_owned() }),
        };
        terms.push((expression.key.as_str().into(), test));
    }
    Ok(muster_model::LabelSelector::new(terms)?)
}

/// Where a resource was written, if a source applied it.
fn provenance(meta: &ObjectMeta) -> Option<Provenance> {
    let annotations = meta.annotations.as_ref()?;
    let (file, line) = annotations.get(names::ANNOTATION_FILE)?.rsplit_once(':')?;
    Some(Provenance {
        revision: annotations.get(names::ANNOTATION_REVISION)?.into(),
        file: file.into(),
        line: line.parse().ok()?,
    })
}

/// In whole seconds, as it is written: so that what was computed equals what is read back.
fn time(instant: Timestamp) -> Time {
    Time(Timestamp::from_second(instant.as_second()).expect("the seconds of an instant are an instant"))
}

/// In whole microseconds, as it is written.
fn micro_time(instant: Timestamp) -> MicroTime {
    MicroTime(
        Timestamp::from_microsecond(instant.as_microsecond())
            .expect("the microseconds of an instant are an instant"),
    )
}

/// As resources write durations; one that no resource could hold is cut to the longest that it could.
fn duration(length: SignedDuration) -> String {
    let length = length.clamp(SignedDuration::ZERO, muster_model::MAX_DURATION);
    GoDuration::new(length).expect("it was cut to what a duration may be").to_string()
}

/// Counts in resources have 32 bits: more machines than that are said as so many.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn packages<'a>(packages: impl IntoIterator<Item = &'a PackageKey>) -> Vec<PackageReference> {
    let each = packages.into_iter();
    each.map(|key| PackageReference {
        name: key.name.to_string(),
        architecture: key.architecture.to_string(),
    })
    .collect()
}

fn baseline_reference(baseline: &BaselineRef, uid: Option<&Uid>) -> BaselineReference {
    BaselineReference { kind: baseline.kind, name: baseline.name.to_string(), uid: uid.map(Uid::to_string) }
}

fn labels(map: Option<&BTreeMap<String, String>>) -> BTreeMap<SmolStr, SmolStr> {
    map.into_iter().flatten().map(|(key, value)| (key.into(), value.into())).collect()
}

/// A text of at most so many characters; one that was cut ends in `…`.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
