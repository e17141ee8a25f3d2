//! Random schemas, as a definition has them and as the library has them, and values of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

/// A type, as far as merging knows any.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Text,
    Number,
    Flag,
    Struct(Fields),
    Map(Box<Shape>),
    WholeMap,
    /// Whole.
    List(Box<Shape>),
    Set,
    /// Items are known by `k`, and by `p` as well if it has a default.
    Keyed {
        default: bool,
        fields: Fields,
    },
    /// Whatever is there.
    Deduced,
}

pub(super) type Fields = BTreeMap<&'static str, Shape>;

impl Shape {
    /// As in a definition.
    pub(super) fn openapi(&self) -> Value {
        let properties = |fields: &Fields| -> Value {
            fields.iter().map(|(name, of)| ((*name).to_owned(), of.openapi())).collect()
        };
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Number => json!({"type": "integer"}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Struct(fields) => json!({"type": "object", "properties": properties(fields)}),
            Self::Map(of) => json!({"type": "object", "additionalProperties": of.openapi()}),
            Self::WholeMap => json!({"type": "object", "x-kubernetes-map-type": "atomic",
                                     "additionalProperties": {"type": "string"}}),
            Self::List(of) => json!({"type": "array", "items": of.openapi()}),
            Self::Set => {
                json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}})
            }
            Self::Keyed { default, fields } => {
                let mut properties = properties(fields);
                properties["k"] = json!({"type": "string"});
                let mut keys = vec!["k"];
                if *default {
                    properties["p"] = json!({"type": "string", "default": "x"});
                    keys.push("p");
                }
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys,
                       "items": {"type": "object", "required": ["k"], "properties": properties}})
            }
            Self::Deduced => json!({"x-kubernetes-preserve-unknown-fields": true}),
        }
    }

    pub(super) fn member(&self, name: &str) -> &Self {
        match self {
            Self::Struct(fields) => fields.get(name).unwrap_or(&Self::Text),
            Self::Keyed { fields, .. } => fields.get(name).unwrap_or(&Self::Text),
            Self::Map(of) => of,
            _ => &Self::Deduced,
        }
    }

    pub(super) fn item(&self) -> &Self {
        match self {
            Self::List(of) => of,
            Self::Keyed { .. } => self,
            _ => &Self::Deduced,
        }
    }

    pub(super) fn is_associative(&self) -> bool {
        matches!(self, Self::Set | Self::Keyed { .. })
    }

    /// By what an item of a set or a keyed list is known.
    pub(super) fn key(&self, item: &Value) -> String {
        match self {
            Self::Keyed { default: true, .. } => {
                let p = item.get("p").cloned().unwrap_or_else(|| "x".into());
                json!([item.get("k"), p]).to_string()
            }
            Self::Keyed { default: false, .. } => json!([item.get("k")]).to_string(),
            _ => item.to_string(),
        }
    }

    /// As the library has it.
    fn library(&self) -> Value {
        let named = |fields: &Fields| -> Vec<Value> {
            fields.iter().map(|(name, of)| json!({"name": name, "type": of.library()})).collect()
        };
        match self {
            Self::Text => json!({"scalar": "string"}),
            Self::Number => json!({"scalar": "numeric"}),
            Self::Flag => json!({"scalar": "boolean"}),
            Self::Struct(fields) => json!({"map": {"fields": named(fields)}}),
            Self::Map(of) => json!({"map": {"elementType": of.library()}}),
            Self::WholeMap => {
                json!({"map": {"elementType": {"scalar": "string"}, "elementRelationship": "atomic"}})
            }
            Self::List(of) => json!({"list": {"elementType": of.library(), "elementRelationship": "atomic"}}),
            Self::Set => {
                json!({"list": {"elementType": {"scalar": "string"}, "elementRelationship": "associative"}})
            }
            Self::Keyed { default, fields } => {
                let mut fields = named(fields);
                fields.push(json!({"name": "k", "type": {"scalar": "string"}}));
                let mut keys = vec!["k"];
                if *default {
                    fields.push(json!({"name": "p", "type": {"scalar": "string"}, "default": "x"}));
                    keys.push("p");
                }
                json!({"list": {"elementType": {"map": {"fields": fields}}, "elementRelationship": "associative",
                                "keys": keys}})
            }
            Self::Deduced => json!({"namedType": "__untyped_deduced_"}),
        }
    }
}

/// The library's schema of an object that has a spec, with the types that the API server gives to what has no schema.
pub(super) fn schema(spec: &Shape) -> Value {
    let whole = json!({"namedType": "__untyped_atomic_"});
    json!({"types": [
        {"name": "root", "map": {"fields": [{"name": "spec", "type": spec.library()}]}},
        {"name": "__untyped_atomic_", "scalar": "untyped", "list": {"elementType": whole, "elementRelationship": "atomic"},
         "map": {"elementType": whole, "elementRelationship": "atomic"}},
        {"name": "__untyped_deduced_", "scalar": "untyped", "list": {"elementType": whole, "elementRelationship": "atomic"},
         "map": {"elementType": {"namedType": "__untyped_deduced_"}, "elementRelationship": "separable"}},
    ]})
}

pub(super) fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Text),
        Just(Shape::Number),
        Just(Shape::Flag),
        Just(Shape::WholeMap),
        Just(Shape::Set),
        Just(Shape::Deduced),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let fields = |least| prop::collection::btree_map(name(), inner.clone(), least..4);
        prop_oneof![
            3 => fields(1).prop_map(Shape::Struct),
            1 => inner.clone().prop_map(|of| Shape::Map(of.into())),
            1 => inner.clone().prop_map(|of| Shape::List(of.into())),
            2 => (any::<bool>(), fields(0)).prop_map(|(default, fields)| Shape::Keyed { default, fields }),
        ]
    })
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn word() -> impl Strategy<Value = Value> {
    prop::sample::select(vec!["x", "y", "z"]).prop_map(Value::from)
}

fn object(
    members: impl Strategy<Value = Vec<Option<(&'static str, Value)>>>,
) -> impl Strategy<Value = Value> {
    members.prop_map(|members| {
        members.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect()
    })
}

/// A value of that type; once in a while null where something could be, a repeated item, a field that is not declared.
pub(super) fn values(of: &Shape) -> BoxedStrategy<Value> {
    let member = |name: &'static str, of: BoxedStrategy<Value>, there: f64| {
        let value = prop_oneof![40 => of, 1 => Just(Value::Null)];
        prop::option::weighted(there, value).prop_map(move |value| Some((name, value?))).boxed()
    };
    let undeclared = || member("undeclared", Just(json!(1)).boxed(), 0.01);
    match of {
        Shape::Text => word().boxed(),
        Shape::Number => (0..3).prop_map(Value::from).boxed(),
        Shape::Flag => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Struct(fields) => {
            let mut members: Vec<_> = fields.iter().map(|(name, of)| member(name, values(of), 0.6)).collect();
            members.push(undeclared());
            object(members).boxed()
        }
        Shape::Map(of) => object(["a", "b", "c"].map(|name| member(name, values(of), 0.4)).to_vec()).boxed(),
        Shape::WholeMap => object(["a", "b"].map(|name| member(name, word().boxed(), 0.5)).to_vec()).boxed(),
        Shape::List(of) => prop::collection::vec(values(of), 0..3).prop_map(Value::from).boxed(),
        Shape::Set => {
            let known = prop::sample::subsequence(vec!["x", "y", "z"], 0..=3).prop_shuffle();
            let several = prop::collection::vec(word(), 2..4).prop_map(Value::from);
            prop_oneof![20 => known.prop_map(Value::from), 1 => several].boxed()
        }
        Shape::Keyed { default, fields } => {
            let mut members: Vec<_> = fields.iter().map(|(name, of)| member(name, values(of), 0.5)).collect();
            if *default {
                members.push(member("p", word().boxed(), 0.4));
            }
            members.push(undeclared());
            let keys = prop::sample::subsequence(vec!["x", "y", "z"], 0..=3).prop_shuffle();
            let items = prop::collection::vec(object(members), 3);
            let item = |(key, mut item): (&str, Value)| {
                item["k"] = key.into();
                item
            };
            (keys, items)
                .prop_map(move |(keys, items)| keys.into_iter().zip(items).map(item).collect())
                .boxed()
        }
        Shape::Deduced => {
            let leaf = prop_oneof![word(), any::<bool>().prop_map(Value::from)];
            leaf.prop_recursive(3, 8, 3, |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                    object(
                        prop::collection::btree_map(name(), inner, 0..3)
                            .prop_map(|members| { members.into_iter().map(Some).collect() })
                    ),
                ]
            })
            .boxed()
        }
    }
}
