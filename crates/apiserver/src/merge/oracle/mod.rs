//! The same decisions as Kubernetes' own structured-merge-diff, on any schema and any sequence of writes.
//!
//! The library answers in a program of its own (`tests/oracle/main.go`), which `tests/tools/oracle.sh` builds from Debian's
//! package; hence the feature. `PROPTEST_CASES=20000` looks further. What the API server does around the library is
//! done here as well, and no more: an object without managers gets `before-first-apply`, and is tracked from then on.

mod shapes;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use shapes::{Shape, schema, shapes, values};

/// A write.
#[derive(Clone, Debug)]
struct Write {
    manager: &'static str,
    kind: Kind,
    spec: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Apply {
        force: bool,
    },
    /// A PUT of something else.
    Replace,
    /// A merge patch.
    Merge,
}

fn writes(of: &Shape) -> impl Strategy<Value = Vec<Write>> + use<> {
    let kind = prop_oneof![
        4 => Just(Kind::Apply { force: false }),
        2 => Just(Kind::Apply { force: true }),
        1 => Just(Kind::Replace),
        2 => Just(Kind::Merge),
    ];
    let manager = prop::sample::select(vec!["one", "two", "three"]);
    let write = (manager, kind, prop::option::weighted(0.95, values(of)));
    let write = write.prop_map(|(manager, kind, spec)| Write { manager, kind, spec });
    prop::collection::vec(write, 1..9)
}

/// The library, in its process.
struct Oracle {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// Owners as the library knows them: `one/Apply` → its fields.
type Owners = BTreeMap<String, Value>;

/// What was decided: the object and who owns what, or the conflicts, or that the value is not of its type.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    Done(Value, Owners),
    Conflicts(BTreeSet<(String, String)>),
    Invalid,
}

impl Decision {
    fn is(&self, theirs: &Self, of: &Shape) -> bool {
        match (self, theirs) {
            (Self::Done(object, owners), Self::Done(theirs, owned)) => {
                owners == owned && is_as(of, object, theirs)
            }
            _ => self == theirs,
        }
    }
}

/// Are they the same, but for two things in which Debian's version of the library is older than the recorded API server's?
/// It makes null of what it takes the last thing out of (the newer one leaves it there, empty), and it appends new
/// items of a list (the newer one keeps the order of the configuration, see [`in_order`]).
fn is_as(of: &Shape, ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Null) => ours.is_empty(),
        (Value::Array(ours), Value::Null) => ours.is_empty(),
        (Value::Object(ours), Value::Object(theirs)) => {
            let same = |(name, ours): (&String, &Value)| {
                theirs.get(name).is_some_and(|theirs| is_as(of.member(name), ours, theirs))
            };
            ours.len() == theirs.len() && ours.iter().all(same)
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let (mut ours, mut theirs): (Vec<_>, Vec<_>) = (ours.iter().collect(), theirs.iter().collect());
            if of.is_associative() {
                ours.sort_by_cached_key(|item| of.key(item));
                theirs.sort_by_cached_key(|item| of.key(item));
            }
            let same = |(ours, theirs): (&Value, &Value)| is_as(of.item(), ours, theirs);
            ours.len() == theirs.len() && ours.into_iter().zip(theirs).all(same)
        }
        _ => ours == theirs,
    }
}

/// After an apply: do its items stand in its order, and the others in theirs?
fn in_order(of: &Shape, live: &Value, config: &Value, merged: &Value) -> bool {
    match (live, config, merged) {
        (_, Value::Array(config), Value::Array(merged)) if of.is_associative() => {
            let keys = |items: &[Value]| -> Vec<String> { items.iter().map(|item| of.key(item)).collect() };
            let config = keys(config);
            let live = keys(live.as_array().map(Vec::as_slice).unwrap_or_default());
            let (told, rest): (Vec<_>, Vec<_>) =
                keys(merged).into_iter().partition(|key| config.contains(key));
            let rest_of_live: Vec<_> = live.into_iter().filter(|key| rest.contains(key)).collect();
            told == config && rest == rest_of_live
        }
        (_, Value::Object(config), Value::Object(merged)) => config.iter().all(|(name, config)| {
            let of = of.member(name);
            in_order(of, &live[name], config, merged.get(name).unwrap_or(&Value::Null))
        }),
        _ => true,
    }
}

impl Oracle {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tools/oracle.sh");
        let built = Command::new("sh").arg(script).output().expect("a shell runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let path = String::from_utf8(built.stdout).expect("a path is text");
        let mut command = Command::new(path.trim());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the oracle starts");
        let to = child.stdin.take().expect("it has a standard input");
        let from = BufReader::new(child.stdout.take().expect("it has a standard output"));
        Self { child, to, from }
    }

    fn ask(&mut self, of: &Shape, write: &Write, live: &Value, new: &Value, owners: &Owners) -> Decision {
        let managers: Value = owners
            .iter()
            .map(|(id, fields)| (id.clone(), json!({"fields": fields, "applied": id.ends_with("/Apply")})))
            .collect();
        let (apply, force) = match write.kind {
            Kind::Apply { force } => (true, force),
            Kind::Replace | Kind::Merge => (false, false),
        };
        let operation = if apply { "Apply" } else { "Update" };
        let request = json!({"schema": schema(of), "apply": apply, "force": force, "live": live, "new": new,
                             "manager": format!("{}/{operation}", write.manager), "managers": managers});
        writeln!(self.to, "{request}").expect("the oracle listens");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the oracle answers");
        let answer: Value = serde_json::from_str(&line).expect("the oracle answers in JSON");
        assert!(answer["failed"].is_null(), "the oracle does not understand: {answer} {request}");
        if answer["invalid"].is_string() {
            return Decision::Invalid;
        }
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        if let Some(conflicts) = answer["conflicts"].as_array() {
            return Decision::Conflicts(
                conflicts.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
            );
        }
        let owners = answer["managers"].as_object().expect("the owners");
        let owners = owners.iter().map(|(id, owned)| (id.clone(), owned["fields"].clone())).collect();
        Decision::Done(answer["object"]["spec"].clone(), owners)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It ends with its input; killing it is quicker.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn owners(object: Option<&Value>) -> Owners {
    let entries =
        object.and_then(|object| object.pointer("/metadata/managedFields")).and_then(Value::as_array);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries
        .into_iter()
        .flatten()
        .map(|entry| {
            (format!("{}/{}", text(&entry["manager"]), text(&entry["operation"])), entry["fieldsV1"].clone())
        })
        .collect()
}

fn whole(spec: Option<&Value>) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "a"}});
    if let Some(spec) = spec {
        object["spec"] = spec.clone();
    }
    object
}

/// What the library is told of an object.
fn part(object: Option<&Value>) -> Value {
    match object.and_then(|object| object.get("spec")) {
        Some(spec) => json!({"spec": spec}),
        None => json!({}),
    }
}

/// Writes one after the other, and asks both each time.
fn compare_all(oracle: &mut Oracle, of: &Shape, writes: &[Write]) -> Result<(), TestCaseError> {
    let compiled = json!({"type": "object", "properties": {"spec": of.openapi()}});
    let compiled =
        CompiledSchema::compile(&compiled).map_err(|why| TestCaseError::fail(format!("{why:?}")))?;
    let rules = FieldRules { schema: Some(Arc::new(compiled)), has_status: false, skeleton: json!({}) };
    let mut live: Option<Value> = None;
    for write in writes {
        let m = Manager {
            name: write.manager,
            api_version: "v1",
            subresource: "",
            now: "2024-05-01T12:00:00Z".parse().expect("a time"),
        };
        let before = part(live.as_ref());
        let mut known = owners(live.as_ref());
        let (ours, theirs) = match write.kind {
            Kind::Apply { force } => {
                if live.is_some() && known.is_empty() {
                    let first = Write { manager: BEFORE_FIRST_APPLY, kind: Kind::Replace, spec: None };
                    if let Decision::Done(_, owners) = oracle.ask(of, &first, &json!({}), &before, &known) {
                        known = owners;
                    }
                }
                let config = whole(write.spec.as_ref());
                let theirs = oracle.ask(of, write, &before, &part(Some(&config)), &known);
                (apply(&rules, live.as_ref(), &config, &m, force), theirs)
            }
            Kind::Replace | Kind::Merge => {
                let mut new = live.clone().unwrap_or_else(|| whole(None));
                match (write.kind, &write.spec) {
                    (Kind::Merge, spec) => json_patch::merge(&mut new, &part(Some(&whole(spec.as_ref())))),
                    (_, Some(spec)) => new["spec"] = spec.clone(),
                    (_, None) => new.as_object_mut().map_or((), |new| drop(new.remove("spec"))),
                }
                let theirs = oracle.ask(of, write, &before, &part(Some(&new)), &known);
                if theirs == Decision::Invalid {
                    // Validation refuses it before anybody asks who owns what.
                    continue;
                }
                let tracked = live.is_none() || !known.is_empty();
                let theirs = if tracked {
                    theirs
                } else {
                    Decision::Done(new.get("spec").cloned().unwrap_or_default(), known)
                };
                (Ok(update(&rules, live.as_ref(), new, &m)), theirs)
            }
        };
        let decided = match &ours {
            Ok(object) => {
                Decision::Done(object.get("spec").cloned().unwrap_or_default(), owners(Some(object)))
            }
            Err(MergeError::Conflict(conflicts)) => {
                let id = |shown: &str| match shown.strip_suffix(" using v1") {
                    Some(name) => format!("{}/Update", name.trim_matches('"')),
                    None => format!("{}/Apply", shown.trim_matches('"')),
                };
                Decision::Conflicts(conflicts.iter().map(|(who, path)| (id(who), path.clone())).collect())
            }
            Err(MergeError::Invalid(_)) => Decision::Invalid,
        };
        let ordered = match (&decided, write.kind, &write.spec) {
            (Decision::Done(merged, _), Kind::Apply { .. }, Some(spec)) => {
                in_order(of, &before["spec"], spec, merged)
            }
            _ => true,
        };
        if !ordered || !decided.is(&theirs, of) {
            return Err(TestCaseError::fail(format!(
                "{write:?} on {}\n owned by {:?}\n  library: {theirs:?}\n  we:      {decided:?}\n",
                before,
                owners(live.as_ref())
            )));
        }
        if let Ok(object) = ours {
            live = Some(object);
        }
    }
    Ok(())
}

#[test]
fn the_library_of_kubernetes_decides_the_same() {
    let oracle = Mutex::new(Oracle::start());
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let cases = shapes().prop_flat_map(|of| writes(&of).prop_map(move |writes| (of.clone(), writes)));
    let outcome = runner
        .run(&cases, |(of, writes)| compare_all(&mut oracle.lock().expect("nobody else asks"), &of, &writes));
    if let Err(found) = outcome {
        panic!("{found}");
    }
}
