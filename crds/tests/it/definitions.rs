//! The definitions: committed, described, bounded, and acceptable to a real server as far as can be told without one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use expect_test::expect;
use muster_crds::all_crds;
use serde_json::Value;

/// Plural names and schemas, as they go to a server.
pub(crate) fn schemas() -> Vec<(String, Value)> {
    let schema = |crd| {
        let crd = serde_json::to_value(crd).unwrap();
        let plural = crd["spec"]["names"]["plural"].as_str().unwrap().to_owned();
        (plural, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
    };
    all_crds().into_iter().map(schema).collect()
}

/// Calls `visit` with every node of a schema and its path.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        walk(member, &format!("{path}.{name}"), visit);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "[*]")] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}{mark}"), visit);
        }
    }
}

#[test]
fn the_committed_definitions_are_those_of_the_code() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let update = std::env::var_os("UPDATE_CRDS").is_some();
    let mut wanted = BTreeSet::new();
    for crd in all_crds() {
        let file = format!("{}.yaml", crd.spec.names.plural);
        let value = whole_numbers(serde_json::to_value(&crd).unwrap());
        let text = format!(
            "# Generated from crds/src by UPDATE_CRDS=1 cargo test -p muster-crds; do not edit.\n{}",
            yaml(&value)
        );
        let path = folder.join(&file);
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), value, "{file} says what the code says");
        assert!(committed == text, "{file} is not up to date: run UPDATE_CRDS=1 cargo test -p muster-crds");
        wanted.insert(file);
    }
    let there =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), wanted, "crds/yaml holds the definitions and nothing else");
}

/// The Kubernetes types hold limits as floating point; people write them without.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(whole) if whole.fract() == 0.0 => Value::from(whole as i64),
            Some(_) | None => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(key, value)| (key, whole_numbers(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap()
}

#[test]
fn every_field_says_what_it_is() {
    for (kind, schema) in schemas() {
        let mut silent = Vec::new();
        walk(&schema, "", &mut |path, node| {
            let field = !path.ends_with(']') && !["", ".apiVersion", ".kind", ".metadata"].contains(&path);
            let description = node["description"].as_str().unwrap_or_default();
            if (field && !description.ends_with('.')) || description.contains("derived type") {
                silent.push(path.to_owned());
            }
        });
        assert_eq!(silent, Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn every_value_is_bounded() {
    for (kind, schema) in schemas() {
        let mut unbounded = Vec::new();
        walk(&schema, "", &mut |path, node| {
            let text = node["type"] == "string" || node["x-kubernetes-int-or-string"] == true;
            let bounded = match node["type"].as_str() {
                _ if text => {
                    node["maxLength"].is_u64() || node["enum"].is_array() || node["format"] == "date-time"
                }
                Some("array") => node["maxItems"].is_u64() && node["x-kubernetes-list-type"].is_string(),
                Some("object") => node["additionalProperties"].is_null() || node["maxProperties"].is_u64(),
                Some("integer") => node["format"].is_string() || node["maximum"].is_number(),
                Some(_) | None => true,
            };
            if !bounded && ![".apiVersion", ".kind"].contains(&path) {
                unbounded.push(path.to_owned());
            }
        });
        assert_eq!(unbounded, Vec::<String>::new(), "{kind}");
        let under_rules: Vec<_> = muster_schema::unbounded_under_rules(&schema);
        assert_eq!(under_rules, Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn names_are_camel_case_and_nothing_is_null() {
    for (kind, schema) in schemas() {
        walk(&schema, "", &mut |path, node| {
            assert!(
                !path.contains('_') && !path.contains('-'),
                "{kind}{path}: kube-cel passes bad data for such names"
            );
            assert!(node["nullable"].is_null(), "{kind}{path}: absent, not null");
            assert!(
                node["oneOf"].is_null() && node["allOf"].is_null(),
                "{kind}{path}: unions are a type and one member"
            );
        });
    }
}

#[test]
fn the_definitions_are_structural_and_their_rules_compile() {
    for (kind, schema) in schemas() {
        muster_schema::CompiledSchema::compile(&schema).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[test]
fn kubectl_get_answers_what_how_far_and_why_not() {
    let mut out = String::new();
    for crd in all_crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let (names, version) = (&crd["spec"]["names"], &crd["spec"]["versions"][0]);
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        assert_eq!(names["categories"], serde_json::json!(["muster"]));
        assert!(
            version["subresources"]["status"].is_object()
                || version["schema"]["openAPIV3Schema"]["properties"]["status"].is_null()
        );
        let columns = version["additionalPrinterColumns"].as_array().unwrap();
        let name = |column: &Value| match column["priority"].as_i64() {
            None | Some(0) => column["name"].as_str().unwrap().to_uppercase(),
            Some(_) => column["name"].as_str().unwrap().to_lowercase(),
        };
        let columns: Vec<_> = columns.iter().map(name).collect();
        out += &format!(
            "= {} {}: {}\n",
            names["kind"].as_str().unwrap(),
            names["shortNames"][0].as_str().unwrap(),
            columns.join(" | ")
        );
    }
    expect![[r#"
        = FleetPolicy fp: SUSPEND | WINDOWS | READY | AGE | packages | reboot
        = DisruptionBudget mdb: MACHINES | UNAVAILABLE | MAX | IN FLIGHT | READY | AGE | absent | message
        = MaintenanceWindow mw: ACTION | OPEN | NEXT OPEN | NEXT CLOSE | MACHINES | READY | AGE | schedule | zone | duration | message
        = WindowOverride wo: WINDOWS | UNTIL | REASON | AGE | baselines
        = FleetMachine fm: VERDICT | REASON | UNTIL | BLOCKER | ACTIVITY | AGE | message | os | release | kernel | agent
        = EnrollmentToken et: ADMIT | USES | MAX USES | EXPIRES | READY | AGE
        = PackageInventory pi: PACKAGES | ARCHITECTURE | AGE | digest
        = PackageProposal pp: TYPE | REFUSED | AGE | inventory | wanted
        = Activity act: MACHINE | PHASE | STEPS | REASON | AGE | finished | revision | message
        = BaselineRollout br: ITEMS | DONE | RELEASED | BARRED | WAVE | READY | REASON | AGE | message
        = RolloutApproval ra: ACTION | BASELINE | PACKAGE | TARGET | BY | AGE | reason
        = PackageBaseline pb: SELECTED | CONVERGED | ACTIVE | BLOCKED | UNKNOWN | READY | AGE | mode | priority | absent | unavailable | message
        = KernelBaseline kb: PACKAGE | SELECTED | CONVERGED | BLOCKED | ACTIVE | UNKNOWN | READY | AGE | version | mode | absent | unavailable | message
        = GitSource gs: TYPE | REVISION | READY | REASON | ERRORS | OWNS | AGE | url | folder | attempted | held | message
    "#]].assert_eq(&out);
}
