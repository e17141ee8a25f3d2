//! Kubernetes' structural schemas: validation, pruning, defaulting and CEL rules.
//!
//! The embedded API and `muster validate` judge objects with this crate, so that both say what a real API server
//! would say, in its words. An object goes through [`CompiledSchema::prune`], [`CompiledSchema::apply_defaults`] and
//! [`CompiledSchema::validate`], in this order.
//!
//! Deliberately not here: anything about one kind, object metadata's own rules (names, labels, owners: the server's),
//! conversion between versions, and the limits on a rule's estimated cost (see [`unbounded_under_rules`] for the part
//! of them that matters to our own resources).

mod bounds;
mod compile;
mod escape;
mod formats;
mod keyed_lists;
mod node;
mod print;
mod rule_fields;
mod rules;
mod shape;
mod structure;

use serde_json::Value;

pub use bounds::unbounded_under_rules;
pub use compile::SchemaError;
pub use rules::RuleProblem;
pub use shape::METADATA;

use node::Node;

/// How many causes one validation lists.
///
/// Enough for anything that a person will read; a list of ten thousand bad items is no larger an answer.
pub const MAX_CAUSES: usize = 100;

/// A schema, checked and ready for use. Cheap to share, expensive to make: the CEL rules are compiled here once.
#[derive(Debug)]
pub struct CompiledSchema {
    root: Node,
    raw: Value,
}

/// One reason why an object is refused, as in `details.causes` of a `Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, `FieldValueNotSupported`, `FieldValueTypeInvalid`,
    /// `FieldValueDuplicate`, `FieldValueTooLong`, `FieldValueTooMany` or `FieldValueForbidden`.
    pub reason: &'static str,
    /// What is wrong, from `Invalid value: …` on, without the field.
    pub message: String,
    /// The field's path (`spec.ports[0].name`); `<nil>` is the object itself, as the API server writes it.
    pub field: String,
}

impl CompiledSchema {
    /// Checks that a CustomResourceDefinition's `openAPIV3Schema` is structural, and compiles it.
    ///
    /// # Errors
    ///
    /// The first thing that makes the schema unusable, with its place.
    pub fn compile(openapi_v3_schema: &Value) -> Result<Self, SchemaError> {
        Ok(Self { root: compile::compile(openapi_v3_schema)?, raw: openapi_v3_schema.clone() })
    }

    /// Refuses rules that compare fields of types that are never equal, and rules and messages that are a field of a wrong
    /// type.
    ///
    /// Apart from [`Self::compile`], since such a schema can be used: what was taken once must not keep a server from
    /// starting.
    ///
    /// # Errors
    ///
    /// The first such rule, with its place.
    pub fn check_types(&self) -> Result<(), SchemaError> {
        compile::check_rules(&self.root, "", true)
    }

    /// Removes what the schema does not know, and returns the removed fields' paths (`spec.packages[0].bar`), sorted.
    ///
    /// `apiVersion`, `kind` and `metadata` are always known at the root and in embedded resources; of `metadata`, the
    /// fields of Kubernetes' ObjectMeta are.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        shape::prune(&self.root, object)
    }

    /// Fills in defaults, also inside defaulted objects, and drops nulls where null is not allowed.
    ///
    /// A null in a field that is not nullable becomes its default, or goes if it has none.
    pub fn apply_defaults(&self, object: &mut Value) {
        shape::apply_defaults(&self.root, object);
    }

    /// What is wrong with a pruned and defaulted object; empty when nothing is.
    ///
    /// The structure comes first; rules are evaluated only on objects whose structure allows it. With `old` given this
    /// is an update: transition rules (those that name `oldSelf`) are evaluated, and what has not changed since is not
    /// complained about ("ratcheting"). At most [`MAX_CAUSES`] causes are returned.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = structure::check(&self.root, object, old);
        keyed_lists::check(&self.root, object, old, &mut causes);
        if self.root.has_rules {
            if causes.iter().any(Cause::blocks_rules) {
                causes.push(Cause::rules_not_checked());
            } else {
                rules::check(&self.root, object, old, &mut causes);
            }
        }
        causes.truncate(MAX_CAUSES);
        causes
    }

    /// The schema as it was given.
    pub fn raw(&self) -> &Value {
        &self.raw
    }
}

impl Cause {
    /// Rules could fail in confusing ways on an object with such a problem, so they are not evaluated.
    fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueNotSupported"
                | "FieldValueRequired"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueTypeInvalid"
        )
    }

    fn rules_not_checked() -> Self {
        Self {
            reason: "FieldValueInvalid",
            message:
                "Invalid value: null: some validation rules were not checked because the object was invalid; \
                      correct the existing errors to complete validation"
                    .to_owned(),
            field: print::field(""),
        }
    }
}
