//! Stories of objects against schemas, first of all those that a real API server told us.

use muster_schema::{Cause, CompiledSchema};
use serde_json::{Value, json};

/// What the server does with a write: prune, default, validate.
fn admit(schema: &CompiledSchema, object: &Value, old: Option<&Value>) -> (Value, Vec<Cause>) {
    let mut object = object.clone();
    schema.prune(&mut object);
    schema.apply_defaults(&mut object);
    let causes = schema.validate(&object, old);
    (object, causes)
}

fn compile(spec: Value) -> CompiledSchema {
    CompiledSchema::compile(&json!({"type": "object", "properties": {"spec": spec}}))
        .expect("the story's schema is good")
}

fn lines(causes: &[Cause]) -> Vec<String> {
    causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

fn refusal(schema: Value) -> String {
    let mut error: &dyn std::error::Error =
        &CompiledSchema::compile(&schema).expect_err("the story's schema is bad");
    let mut text = error.to_string();
    while let Some(source) = error.source() {
        error = source;
        text = format!("{text}: {error}");
    }
    text
}

#[test]
fn a_real_api_server_says_the_same() {
    let told: Value = serde_json::from_str(include_str!("real_server.json")).unwrap();
    let schema = CompiledSchema::compile(&told["schema"]).unwrap();
    let mut differences = Vec::new();
    for case in told["cases"].as_array().unwrap() {
        let (object, causes) = admit(&schema, &case["object"], case.get("old"));
        let mut said: Vec<Value> = causes.iter().map(|c| json!([c.reason, c.field, c.message])).collect();
        said.sort_by_key(|cause| (cause[1].to_string(), cause[2].to_string()));
        let mut wanted = case.get("causes").and_then(Value::as_array).cloned().unwrap_or_default();
        wanted.sort_by_key(|cause| (cause[1].to_string(), cause[2].to_string()));
        if said != wanted {
            differences.push(format!("{}\n  server: {wanted:?}\n  we:     {said:?}", case["name"]));
        }
        if case.get("result").is_some_and(|result| *result != object) {
            differences.push(format!("{}\n  server: {}\n  we:     {object}", case["name"], case["result"]));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn unknown_fields_are_removed_and_named() {
    let schema = compile(json!({"type": "object", "properties": {
        "packages": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                 "properties": {"known": {"type": "object"}}},
    }}));
    let mut object = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "a", "nick": "b"}, "spec": {
        "foo": 1, "packages": [{"name": "a", "bar": 1}], "open": {"any": 1, "known": {"x": 1}}}, "status": {}});
    let removed = schema.prune(&mut object);
    assert_eq!(removed, ["metadata.nick", "spec.foo", "spec.open.known.x", "spec.packages[0].bar", "status"]);
    assert_eq!(object["spec"], json!({"packages": [{"name": "a"}], "open": {"any": 1, "known": {}}}));
    assert_eq!(object["metadata"], json!({"name": "a"}));
}

#[test]
fn a_rule_on_a_snake_case_field_is_not_passed_by_anything() {
    let schema = compile(json!({"type": "object", "properties": {"my_field": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "has(self.my_field) && self.my_field > 1", "message": "too low"}]}));
    assert_eq!(
        lines(&schema.validate(&json!({"spec": {"my_field": 1}}), None)),
        ["spec: Invalid value: too low"]
    );
    assert!(schema.validate(&json!({"spec": {"my_field": 2}}), None).is_empty());
}

#[test]
fn rules_see_map_keys_formats_and_escaped_names() {
    let schema = compile(json!({"type": "object", "properties": {
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "timeout": {"type": "string", "format": "duration"},
        "time": {"type": "string", "format": "date-time"},
        "namespace": {"type": "string"},
        "ratio": {"type": "number"},
      }, "x-kubernetes-validations": [
        {"rule": "!('a.b/c' in self.labels)", "message": "label"},
        {"rule": "self.timeout < duration('1h')", "message": "timeout"},
        {"rule": "self.time > timestamp('2020-01-01T00:00:00Z')", "message": "time"},
        {"rule": "self.__namespace__ != 'x'", "message": "namespace"},
        {"rule": "self.ratio > 0.5", "message": "ratio"},
        {"rule": "self.?ratio.orValue(1.0) < 3.0", "message": "optional"},
    ]}));
    let good = json!({"spec": {"labels": {"a": "b"}, "timeout": "30m", "time": "2020-02-01T00:00:00Z", "namespace": "y", "ratio": 1}});
    assert_eq!(lines(&schema.validate(&good, None)), Vec::<String>::new());
    let bad = json!({"spec": {"labels": {"a.b/c": ""}, "timeout": "2h", "time": "2019-02-01T00:00:00Z", "namespace": "x", "ratio": 0}});
    let said = lines(&schema.validate(&bad, None));
    let wanted =
        ["label", "timeout", "time", "namespace", "ratio"].map(|m| format!("spec: Invalid value: {m}"));
    assert_eq!(said, wanted);
}

#[test]
fn a_rule_that_cannot_be_evaluated_refuses_the_object() {
    let schema = compile(json!({"type": "object", "properties": {"n": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "cel.bind(x, self.n, x > 0)"}]}));
    let said = schema.validate(&json!({"spec": {"n": 1}}), None);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].reason, "FieldValueInvalid");
}

#[test]
fn items_of_a_map_list_are_compared_with_their_older_selves_by_key() {
    let items = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "version": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.version >= oldSelf.version", "message": "no way back"}]});
    let schema = compile(json!({"type": "object", "properties": {"list": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": items}}}));
    let old = json!({"spec": {"list": [{"name": "a", "version": 5}, {"name": "b", "version": 1}]}});
    let new = json!({"spec": {"list": [{"name": "b", "version": 1}, {"name": "a", "version": 4}, {"name": "c", "version": 0}]}});
    assert_eq!(lines(&schema.validate(&new, Some(&old))), ["spec.list[1]: Invalid value: no way back"]);
    assert!(schema.validate(&new, None).is_empty());
}

#[test]
fn what_an_update_does_not_touch_may_stay_wrong() {
    let schema = compile(json!({"type": "object", "properties": {
        "a": {"type": "integer", "maximum": 3}, "b": {"type": "integer"}}}));
    let old = json!({"spec": {"a": 9, "b": 1}});
    assert!(schema.validate(&json!({"spec": {"a": 9, "b": 2}}), Some(&old)).is_empty());
    assert_eq!(
        lines(&schema.validate(&json!({"spec": {"a": 8, "b": 2}}), Some(&old))),
        ["spec.a: Invalid value: 8: spec.a in body should be less than or equal to 3"]
    );
}

#[test]
fn alternatives_are_explained_by_the_closest_one() {
    let schema = compile(json!({"type": "object", "properties": {
        "n": {"type": "integer"}, "a": {"type": "string"}, "b": {"type": "string"}, "word": {"type": "string",
            "not": {"enum": ["never"]}, "allOf": [{"maxLength": 5}]}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}));
    assert_eq!(
        lines(&schema.validate(&json!({"spec": {}}), None)),
        [
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#,
            "spec.a: Required value"
        ]
    );
    assert_eq!(
        lines(&schema.validate(&json!({"spec": {"a": "", "b": ""}}), None)),
        [
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#
        ]
    );
    assert_eq!(
        lines(&schema.validate(&json!({"spec": {"a": "", "word": "never"}}), None)),
        [r#"<nil>: Invalid value: "": "spec.word" must not validate the schema (not)"#]
    );
}

#[test]
fn schemas_that_would_not_work_are_refused_with_their_place() {
    let spec = |spec: Value| refusal(json!({"type": "object", "properties": {"spec": spec}}));
    assert_eq!(spec(json!({})), "spec: type must be set");
    assert_eq!(spec(json!({"type": "array"})), "spec: an array must say what its items are");
    assert_eq!(
        spec(json!({"type": "string", "default": 3})),
        r#"spec: the default does not fit the schema: Invalid value: "integer":  in body must be of type string: "integer""#
    );
    assert_eq!(
        spec(json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"})),
        "spec: a list of type map needs x-kubernetes-list-map-keys"
    );
    let rule = |rule: &str| {
        spec(json!({"type": "object", "properties": {"name": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}},
            "x-kubernetes-validations": [{"rule": rule}]}))
    };
    assert!(
        rule("has(self.nmae)")
            .ends_with("undefined field \"nmae\"; declare it in the schema, or correct its name")
    );
    assert!(rule("self.list.all(x, x.m > 1)").contains("undefined field \"m\""));
    assert!(rule("self.list[0].m > 1").contains("undefined field \"m\""));
    let typed = |rule: &str| {
        let schema =
            compile(json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
            "name": {"type": "string"}, "sure": {"type": "boolean"},
            "list": {"type": "array", "items": {"type": "integer"}}}}));
        schema.check_types().map_err(|error| std::error::Error::source(&error).map(ToString::to_string))
    };
    let refused = |why: &str| Err(Some(why.to_owned()));
    assert_eq!(
        typed("self.list.exists(x, x == self.name)"),
        refused("== has no meaning between (int, string); compare values of one type")
    );
    assert_eq!(typed("self.name"), refused("it must be true or false"));
    for usable in ["self.sure", "has(self.name)", "has(self.name) != self.sure", "self.name == string(1)"] {
        assert_eq!(typed(usable), Ok(()), "{usable}");
    }
    assert!(rule("self.name ==").contains("it is not a CEL expression"));
    assert!(rule(&"(".repeat(5000)).contains("at most 4096 are allowed"));
    let in_list = spec(json!({"type": "array", "items": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "self > oldSelf"}]}}));
    assert!(in_list.contains("oldSelf cannot be used inside lists that are not of type map"), "{in_list}");
    let mut deep = json!({"type": "string"});
    for _ in 0..70 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    assert!(refusal(deep).contains("at most 64 deep"));
}

#[test]
fn one_compiled_schema_serves_all_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<CompiledSchema>();
}

#[test]
fn the_number_of_causes_is_bounded() {
    let schema = compile(json!({"type": "array", "items": {"type": "string"}}));
    let causes = schema.validate(&json!({"spec": vec![1; 5000]}), None);
    assert_eq!(causes.len(), muster_schema::MAX_CAUSES);
}
