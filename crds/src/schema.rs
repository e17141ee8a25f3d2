//! The schemas of single values: texts with their pattern and bound, names of closed sets, selectors, conditions.
//!
//! Each is used through `schemars(schema_with = …)`, so that the same thing looks the same in every kind. Bounds are
//! those of the model's parsers; what they cannot say (a version's order, a schedule's sense) the conversions do.

use muster_model::{MAX_PHASING_DRAWS, PHASED_IN};
use schemars::{Schema, SchemaGenerator, json_schema};

/// One kind of text: name, pattern (RE2), longest length in characters.
macro_rules! texts {
    ($($name:ident $pattern:literal $longest:literal;)*) => {
        $(pub(crate) fn $name(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "pattern": $pattern, "maxLength": $longest})
        })*
    };
}

texts! {
    object_name r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" 253;
    wave_name r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" 63;
    label_key r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$" 317;
    machine_name r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" 63;
    package_name r"^[a-z0-9][a-z0-9+.-]+$" 128;
    architecture r"^[a-z0-9][a-z0-9-]*$" 32;
    unit_name r"^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.[a-z]+$" 255;
    version_requirement r"^\s*(latest|(<<|<=|=|>=|>>)\s*([0-9]+:)?[0-9]([0-9A-Za-z.+~:-]*[0-9A-Za-z.+~:])?)(\s*,\s*(latest|(<<|<=|=|>=|>>)\s*([0-9]+:)?[0-9]([0-9A-Za-z.+~:-]*[0-9A-Za-z.+~:])?))*\s*$" 256;
    version r"^[0-9A-Za-z.+~:-]+$" 256;
    digest r"^sha256:[0-9a-f]{64}$" 71;
    uid r"^[!-~]+$" 64;
    uuid r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$" 36;
    duration r"^(0|([0-9]+(\.[0-9]+)?(h|m|s|ms|us|µs|ns))+)$" 100;
    revision r"^[!-~]+$" 300;
    commit r"^([0-9a-f]{40}|[0-9a-f]{64})$" 64;
    base64 r"^[A-Za-z0-9+/]*={0,2}$" 1_400_000;
}

/// One closed set of names.
macro_rules! sets {
    ($($name:ident: $($value:literal),+;)*) => {
        $(pub(crate) fn $name(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "enum": [$($value),+]})
        })*
    };
}

sets! {
    mode: "Enforce", "Observe";
    permit: "Refuse", "Allow";
    upgrade_policy: "None", "Security", "All";
    approval: "None", "Required";
    approval_action: "Pause", "Resume", "Approve";
    conffiles: "Keep", "Replace", "Fail";
    package_wish: "Present", "Absent";
    reboot_when: "Never", "WhenRequired";
    window_action: "Allow", "Deny";
    absent_machines: "Count", "Ignore";
    windows_policy: "Optional", "Required";
    cover: "Packages", "Kernel", "Reboot";
    baseline_kind: "PackageBaseline", "KernelBaseline";
    encoding: "Zstd";
    verdict: "Converged", "Start", "Active", "Waiting", "Blocked", "Unmanaged", "Unknown";
    phase: "Pending", "Delivered", "Running", "Verifying", "Succeeded", "Failed", "Refused", "Interrupted", "Canceled", "Expired";
    outcome: "PlanMismatch", "VersionGone", "FetchError", "Locked", "Preflight", "Superseded", "PackagesNotAsWanted", "TimedOut",
        "Unreachable", "RebootNotObserved", "BootFallback", "Unhealthy", "RebootLoop", "Contradicted", "CancelRequested",
        "NotAdopted", "Undelivered", "NotBegun", "WindowClosed";
}

/// A set of values (`x-kubernetes-list-type: set`).
fn set(items: &Schema, most: u32) -> Schema {
    json_schema!({"type": "array", "items": items, "maxItems": most, "x-kubernetes-list-type": "set"})
}

pub(crate) fn units(generator: &mut SchemaGenerator) -> Schema {
    set(&unit_name(generator), 50)
}

pub(crate) fn object_names(generator: &mut SchemaGenerator) -> Schema {
    set(&object_name(generator), 100)
}

pub(crate) fn package_names(generator: &mut SchemaGenerator) -> Schema {
    set(&package_name(generator), 2000)
}

/// Package names or kernel releases: whatever asked for a reboot.
pub(crate) fn reboot_reasons(_: &mut SchemaGenerator) -> Schema {
    set(&json_schema!({"type": "string", "maxLength": 128}), 20)
}

pub(crate) fn gpus(_: &mut SchemaGenerator) -> Schema {
    set(&json_schema!({"type": "string", "maxLength": 63}), 16)
}

pub(crate) fn covers(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = set(&cover(generator), 3);
    schema.insert("minItems".into(), 1.into());
    schema
}

pub(crate) fn capabilities(_: &mut SchemaGenerator) -> Schema {
    let capability = json_schema!({"type": "string", "enum": ["ExactSimulation", "Packages", "Reboot", "Journal", "KernelSelection"]});
    set(&capability, 16)
}

/// How long a source package's name with a version may be.
pub(crate) const MAX_DRAW_KEY: usize = 200;

/// The windows that an override is about.
pub(crate) fn overridden_windows(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = set(&object_name(generator), 20);
    schema.insert("minItems".into(), 1.into());
    schema
}

/// What a machine draws for phased updates.
pub(crate) fn draws(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_PHASING_DRAWS,
        "additionalProperties": {"type": "integer", "minimum": 0, "maximum": PHASED_IN}
    })
}

/// Words of a kernel command line: no blanks inside.
pub(crate) fn words(_: &mut SchemaGenerator) -> Schema {
    set(&json_schema!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[!-~]+$"}), 50)
}

/// A number of machines or a percentage of them.
pub(crate) fn share(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 0,
        "maximum": 1_000_000,
        "pattern": "^(100|[0-9]{1,2})%$",
        "maxLength": 4,
    })
}

/// Labels, or facts: keys and values as Kubernetes bounds them.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"},
    })
}

/// A LabelSelector, with bounds and with words of our own.
pub(crate) fn machine_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut match_labels = labels(generator);
    match_labels.insert(
        "description".into(),
        "Labels that a machine must have, with these values; all of them.".into(),
    );
    let value = json_schema!({"type": "string", "maxLength": 63});
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": match_labels,
            "matchExpressions": {
                "description": "Expressions over labels; all of them must hold.",
                "type": "array",
                "maxItems": 64,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"description": "The label's key, such as fact.muster.dev/os.", "type": "string", "maxLength": 317},
                        "operator": {
                            "description": "In and NotIn compare with `values`, Exists and DoesNotExist ask for the key alone.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "What In and NotIn compare with; empty for the other operators.",
                            "type": "array",
                            "maxItems": 256,
                            "x-kubernetes-list-type": "atomic",
                            "items": value,
                        },
                    },
                },
            },
        },
    })
}

/// Kubernetes conditions, keyed by type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"description": "What the condition is about.", "type": "string", "maxLength": 63, "pattern": "^[A-Z][A-Za-z]*$"},
                "status": {"description": "True, False or Unknown.", "type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"description": "Why, as one word of a closed set.", "type": "string", "maxLength": 63, "pattern": "^[A-Z][A-Za-z0-9]*$"},
                "message": {"description": "Why, in words, with names and numbers.", "type": "string", "maxLength": 4096},
                "lastTransitionTime": {"description": "When `status` last changed.", "type": "string", "format": "date-time"},
                "observedGeneration": {"description": "The generation of the spec that it speaks of.", "type": "integer", "format": "int64", "minimum": 0},
            },
        },
    })
}
