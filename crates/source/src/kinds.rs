//! The kinds that a source may hold (rule G3), with their schemas and their way into the model.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use muster_crds::{
    DisruptionBudget, FieldError, FleetMachine, FleetPolicy, KernelBaseline, MaintenanceWindow,
    PackageBaseline, all_crds,
};
use muster_model::{Budget, Policy, Window};
use muster_schema::CompiledSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A kind that a source may hold (rule G3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// Defaults and guards of the namespace.
    FleetPolicy,
    /// How much at a time.
    DisruptionBudget,
    /// When.
    MaintenanceWindow,
    /// Labels and spec of a machine.
    FleetMachine,
    /// Packages.
    PackageBaseline,
    /// Kernels.
    KernelBaseline,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::FleetPolicy,
        Self::DisruptionBudget,
        Self::MaintenanceWindow,
        Self::FleetMachine,
        Self::PackageBaseline,
        Self::KernelBaseline,
    ];

    /// Its name in resources.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FleetPolicy => "FleetPolicy",
            Self::DisruptionBudget => "DisruptionBudget",
            Self::MaintenanceWindow => "MaintenanceWindow",
            Self::FleetMachine => "FleetMachine",
            Self::PackageBaseline => "PackageBaseline",
            Self::KernelBaseline => "KernelBaseline",
        }
    }

    /// Its plural, as in URLs.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::FleetPolicy => "fleetpolicies",
            Self::DisruptionBudget => "disruptionbudgets",
            Self::MaintenanceWindow => "maintenancewindows",
            Self::FleetMachine => "fleetmachines",
            Self::PackageBaseline => "packagebaselines",
            Self::KernelBaseline => "kernelbaselines",
        }
    }

    /// The kind of that name, if a source may hold it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Its schema, compiled once for the process.
    pub(crate) fn schema(self) -> &'static CompiledSchema {
        static SCHEMAS: OnceLock<BTreeMap<Kind, CompiledSchema>> = OnceLock::new();
        let schemas = SCHEMAS.get_or_init(|| {
            let definitions = all_crds().into_iter().filter_map(|definition| {
                let kind = Kind::parse(&definition.spec.names.kind)?;
                let version = definition.spec.versions.first().expect("our definitions have a version");
                let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
                let schema = serde_json::to_value(schema).expect("a schema is plain data");
                Some((
                    kind,
                    CompiledSchema::compile(&schema).expect("the definitions' own tests compile them"),
                ))
            });
            definitions.collect()
        });
        schemas.get(&self).expect("all_crds holds every kind of a source")
    }

    /// The resource as the planner will know it, or all that is wrong with it. `value` has its defaults.
    pub(crate) fn to_model(self, value: Value) -> Result<Model, Vec<FieldError>> {
        match self {
            Self::FleetPolicy => typed::<FleetPolicy>(value)?.to_model().map(Model::Policy),
            Self::DisruptionBudget => typed::<DisruptionBudget>(value)?.to_model().map(Model::Budget),
            Self::MaintenanceWindow => {
                let window = typed::<MaintenanceWindow>(value)?;
                // What closes a window that is in force is an error of a revision (rule G1).
                let problems = window.problems();
                if problems.is_empty() { window.to_model().map(Model::Window) } else { Err(problems) }
            }
            Self::FleetMachine => {
                typed::<FleetMachine>(value).map(|machine| Model::Machine(Box::new(machine)))
            }
            Self::PackageBaseline => typed::<PackageBaseline>(value)?
                .to_model()
                .map(|model| Model::PackageBaseline(Box::new(model))),
            Self::KernelBaseline => {
                typed::<KernelBaseline>(value)?.to_model().map(|model| Model::KernelBaseline(Box::new(model)))
            }
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A resource of a source, understood. Its uid is that of a resource no API server has seen.
#[derive(Clone, Debug)]
pub enum Model {
    /// A FleetPolicy.
    Policy(Policy),
    /// A DisruptionBudget.
    Budget(Budget),
    /// A MaintenanceWindow.
    Window(Window),
    /// A FleetMachine; what it reports is not the source's to say.
    Machine(Box<FleetMachine>),
    /// A PackageBaseline.
    PackageBaseline(Box<muster_model::PackageBaseline>),
    /// A KernelBaseline.
    KernelBaseline(Box<muster_model::KernelBaseline>),
}

/// The schema has said yes, so this fails only where a schema says less than its type.
fn typed<K: DeserializeOwned>(value: Value) -> Result<K, Vec<FieldError>> {
    serde_json::from_value(value)
        .map_err(|error| vec![FieldError { field: String::new(), rule: "", message: error.to_string() }])
}
