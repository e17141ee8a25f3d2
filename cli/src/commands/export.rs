//! `muster export`: what people wrote, for moving a fleet from `muster up` to a cluster with `kubectl apply`.
//!
//! Specs, tokens, credentials of sources, overrides that are not over, and the fleet's root. Never activities, inventories or status: agents report
//! anew, and an agent's journal refuses an activity that it has seen.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, ResourceExt as _};
use muster_crds::EnrollmentToken;
use muster_crds::names::{GROUP, LABEL_SOURCE, VERSION, is_fact};
use serde_json::{Map, Value, json};

use super::controller::ROOT_SECRET;
use crate::arguments::ExportArguments;
use crate::connect::{ConnectError, Connection, connect, kubeconfig_file};
use crate::exit::ExitStatus;
use crate::printer::Printer;

/// Objects a page: what kubectl asks for.
const PAGE: u32 = 500;

/// What people write, guards before what they guard, sources last: a cluster whose source comes before its guards could
/// start something.
const KINDS: [(&str, &str); 8] = [
    ("FleetPolicy", "fleetpolicies"),
    ("MaintenanceWindow", "maintenancewindows"),
    ("DisruptionBudget", "disruptionbudgets"),
    ("FleetMachine", "fleetmachines"),
    ("PackageBaseline", "packagebaselines"),
    ("KernelBaseline", "kernelbaselines"),
    ("WindowOverride", "windowoverrides"),
    ("GitSource", "gitsources"),
];

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API did not answer as it should.
    #[error("cannot read {what} in namespace {namespace}")]
    Api {
        /// What.
        what: String,
        /// Where.
        namespace: String,
        source: Box<kube::Error>,
    },
    /// Nowhere.
    #[error(
        "the fleet's root is neither in pki/ beside the kubeconfig nor in the Secret {ROOT_SECRET}; name the \
         kubeconfig in the state directory of `muster up` with --kubeconfig"
    )]
    NoRoot,
    /// It cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: PathBuf,
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {file}")]
    Write {
        /// The file.
        file: PathBuf,
        source: io::Error,
    },
}

/// `muster export [-o FILE]`.
pub(crate) async fn export(arguments: &ExportArguments, printer: Printer) -> Result<ExitStatus, ExportError> {
    let connection = connect(&arguments.client).await?;
    let folder = kubeconfig_file(&arguments.client).and_then(|file| Some(file.parent()?.to_owned()));
    let mut items = vec![root(&connection, folder.as_deref()).await?];
    let sources = list(&connection, "GitSource", "gitsources").await?;
    items.extend(credentials(&connection, &sources).await?);
    items.extend(tokens(&connection, Timestamp::now()).await?);
    // What a Git source applied, it applies again; a folder is on this machine only, so its resources go along.
    let followed: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.data.pointer("/spec/type") == Some(&json!("Git")))
        .map(|source| source.name_any())
        .collect();
    for (kind, plural) in KINDS {
        for object in list(&connection, kind, plural).await?.into_iter().filter(|object| !is_over(object)) {
            items.extend(written(kind, object, &followed));
        }
    }
    let folders = sources.len() - followed.len();
    if folders > 0 {
        printer.note(format!(
            "{folders} source(s) follow a folder of this machine, which a cluster cannot: their resources are \
             exported, the sources are not"
        ));
    }
    words(&connection, printer).await?;
    let count = items.len();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    write(arguments.output.as_deref(), &list, printer)?;
    printer.note(format!(
        "{count} objects, with the key of the fleet's root: keep this secret, and apply it before the controller starts"
    ));
    Ok(ExitStatus::Done)
}

/// Whether it is an override whose time is over.
fn is_over(object: &DynamicObject) -> bool {
    let until = object.data.pointer("/spec/untilTime").and_then(Value::as_str);
    until.and_then(|until| until.parse::<Timestamp>().ok()).is_some_and(|until| until <= Timestamp::now())
}

/// Words about rollouts stay behind, and whoever moves the fleet has to know: an API server takes such a word from the person
/// that says it and from nobody else, and what it holds for depends on when it was said.
async fn words(connection: &Connection, printer: Printer) -> Result<(), ExportError> {
    let said = list(connection, "RolloutApproval", "rolloutapprovals").await?;
    if said.is_empty() {
        return Ok(());
    }
    let paused = |word: &&DynamicObject| word.data.pointer("/spec/action") == Some(&json!("Pause"));
    let baselines: BTreeSet<&str> = said
        .iter()
        .filter(paused)
        .filter_map(|word| word.data.pointer("/spec/baselineRef/name").and_then(Value::as_str))
        .collect();
    let pauses = match baselines.is_empty() {
        true => String::new(),
        false => {
            let names = baselines.into_iter().collect::<Vec<_>>().join(", ");
            format!("; pauses first, before anything may start there: {names}")
        }
    };
    printer.note(format!(
        "{} RolloutApproval(s) stay behind: only who says such a word can say it, so say again what still \
         holds{pauses}",
        said.len()
    ));
    Ok(())
}

fn fail(connection: &Connection, what: impl Into<String>) -> impl FnOnce(kube::Error) -> ExportError {
    let (what, namespace) = (what.into(), connection.namespace.clone());
    move |source| ExportError::Api { what, namespace, source: Box::new(source) }
}

async fn list(connection: &Connection, kind: &str, plural: &str) -> Result<Vec<DynamicObject>, ExportError> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural);
    let api: Api<DynamicObject> =
        Api::namespaced_with(connection.client.clone(), &connection.namespace, &resource);
    let (mut parameters, mut all) = (ListParams::default().limit(PAGE), Vec::new());
    loop {
        let page = api.list(&parameters).await.map_err(fail(connection, plural))?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// The fleet's root as the Secret that a controller looks for: of `muster up` from its files, of a cluster as it is.
async fn root(connection: &Connection, folder: Option<&Path>) -> Result<Value, ExportError> {
    let secret = |certificate: &[u8], key: &[u8]| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": ROOT_SECRET},
            "data": {"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key)},
        })
    };
    let read = |name: &str| match folder.map(|folder| folder.join("pki").join(name)) {
        Some(file) if file.exists() => {
            std::fs::read(&file).map(Some).map_err(|source| ExportError::Read { file, source })
        }
        Some(_) | None => Ok(None),
    };
    if let (Some(certificate), Some(key)) = (read("ca.crt")?, read("ca.key")?) {
        return Ok(secret(&certificate, &key));
    }
    let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let there = secrets.get_opt(ROOT_SECRET).await.map_err(fail(connection, "the Secret muster-ca"))?;
    let pair = there.as_ref().and_then(super::controller::pair).ok_or(ExportError::NoRoot)?;
    Ok(secret(pair.certificate.as_bytes(), pair.key.as_bytes()))
}

/// The Secrets that sources log in with.
async fn credentials(connection: &Connection, sources: &[DynamicObject]) -> Result<Vec<Value>, ExportError> {
    let named: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| source.data.pointer("/spec/git/secretRef/name").and_then(Value::as_str))
        .collect();
    let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let mut found = Vec::new();
    for name in named {
        let secret = secrets.get_opt(name).await.map_err(fail(connection, format!("the Secret {name}")))?;
        found.extend(secret.map(|secret| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": secret.type_, "metadata": {"name": name},
                "data": secret.data,
            })
        }));
    }
    Ok(found)
}

/// Tokens that are still good, for as many machines as are left: how often one was used is status, which stays behind.
async fn tokens(connection: &Connection, now: Timestamp) -> Result<Vec<Value>, ExportError> {
    let mut found = Vec::new();
    for mut object in list(connection, "EnrollmentToken", "enrollmenttokens").await? {
        let value = serde_json::to_value(&object).unwrap_or_default();
        let Ok(token) = serde_json::from_value::<EnrollmentToken>(value) else { continue };
        let left = token.spec.max_uses.saturating_sub(token.status.map_or(0, |status| status.uses));
        if left > 0 && token.spec.expiry_time.0 > now {
            object.data["spec"]["maxUses"] = left.into();
            found.extend(written("EnrollmentToken", object, &BTreeSet::new()));
        }
    }
    Ok(found)
}

/// What people wrote of an object; nothing of one that another place says again.
fn written(kind: &str, object: DynamicObject, followed: &BTreeSet<String>) -> Option<Value> {
    let source = object.labels().get(LABEL_SOURCE);
    // Machines were enrolled, whoever labelled them: an agent without its FleetMachine is shut out.
    let comes_again = kind != "FleetMachine" && source.is_some_and(|source| followed.contains(source));
    let is_folder = kind == "GitSource" && !followed.contains(&object.name_any());
    if comes_again || is_folder || object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let ours = |key: &str| is_fact(key) || key.starts_with("source.muster.dev/");
    let kept = |pairs: &std::collections::BTreeMap<String, String>| -> Map<String, Value> {
        let kept = pairs.iter().filter(|(key, _)| {
            !ours(key) && !key.starts_with("kubectl.kubernetes.io/") && !key.starts_with("muster.dev/")
        });
        kept.map(|(key, value)| (key.clone(), value.clone().into())).collect()
    };
    let mut metadata = json!({"name": object.name_any()});
    for (member, pairs) in [("labels", kept(object.labels())), ("annotations", kept(object.annotations()))] {
        if !pairs.is_empty() {
            metadata[member] = Value::Object(pairs);
        }
    }
    let mut spec = object.data.get("spec").cloned().unwrap_or_else(|| json!({}));
    if let (true, Some(spec)) = (kind == "FleetMachine", spec.as_object_mut()) {
        // Numbers of activities that stay behind: they would forgive what the cluster's own do.
        spec.remove("resolvedThrough");
        spec.remove("retriedThrough");
    }
    Some(json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": kind, "metadata": metadata, "spec": spec,
    }))
}

/// To a file that only its owner can read, or to standard output.
fn write(file: Option<&Path>, list: &Value, printer: Printer) -> Result<(), ExportError> {
    let Some(file) = file else {
        printer.pretty_json(list);
        return Ok(());
    };
    let fail = |source| ExportError::Write { file: file.to_owned(), source };
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(fail)?;
    let text = serde_json::to_string_pretty(list).expect("a list is plain data") + "\n";
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn facts_provenance_and_status_stay_behind_and_identities_go_along() {
        let machine = object(json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "FleetMachine",
            "metadata": {"name": "web-01", "uid": "u", "labels": {"role": "web", "fact.muster.dev/os": "debian",
                "source.muster.dev/name": "fleet"}, "annotations": {"muster.dev/absence-resolved-time": "x"}},
            "spec": {"identity": "i", "admitted": true, "resolvedThrough": 7},
            "status": {"decision": {"verdict": "Converged"}},
        }));
        let followed = BTreeSet::from(["fleet".to_owned()]);
        assert_eq!(
            written("FleetMachine", machine, &followed),
            Some(json!({
                "apiVersion": "muster.dev/v1alpha1", "kind": "FleetMachine",
                "metadata": {"name": "web-01", "labels": {"role": "web"}},
                "spec": {"identity": "i", "admitted": true},
            }))
        );
    }

    #[test]
    fn what_a_git_source_applies_again_is_left_to_it() {
        let budget = |source: &str| {
            object(json!({
                "apiVersion": "muster.dev/v1alpha1", "kind": "DisruptionBudget",
                "metadata": {"name": "etcd", "labels": {"source.muster.dev/name": source}}, "spec": {},
            }))
        };
        let followed = BTreeSet::from(["fleet".to_owned()]);
        assert_eq!(written("DisruptionBudget", budget("fleet"), &followed), None);
        assert!(written("DisruptionBudget", budget("folder"), &followed).is_some());
    }
}
