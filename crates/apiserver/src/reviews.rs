//! Questions about access and identity: answered, never stored.

use serde_json::{Value, json};

use crate::access::{self, Action, Identity};
use crate::admit;
use crate::managed;
use crate::media;
use crate::metadata;
use crate::object::items;
use crate::reply::Reply;
use crate::server::Ask;
use crate::status::{Fault, cause};

pub(crate) fn answer(ask: &Ask<'_>) -> Result<Reply, Fault> {
    let identity = ask.identity;
    let mut review = media::decode(&ask.media(), &ask.body)?.value;
    admit::check_kind(ask, &review)?;
    let asks = |kind: &str| ask.resource.kind == kind;
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    if !asks("SelfSubjectRulesReview") {
        let given = review["metadata"].as_object().is_some_and(|metadata| !metadata.is_empty());
        review = managed::update(&admit::writer(ask, ask.query.get("fieldManager")), None, review);
        if given && !asks("SelfSubjectReview") {
            let message = format!("Invalid value: {}: must be empty", shown_metadata(&review["metadata"]));
            let causes = vec![cause("FieldValueInvalid", "metadata", message)];
            return Err(Fault::invalid("authorization.k8s.io", "", "", causes));
        }
    } else {
        review["spec"] = json!({});
    }
    review["status"] = match &*ask.resource.kind {
        "SelfSubjectReview" => json!({"userInfo": {"username": identity.user, "groups": identity.groups}}),
        "SelfSubjectRulesReview" => access::rules_of(identity),
        "SubjectAccessReview" => {
            let groups =
                items(&review["spec"]["groups"]).filter_map(Value::as_str).map(str::to_owned).collect();
            let user = review["spec"]["user"].as_str().unwrap_or_default().to_owned();
            decision(&review["spec"], &Identity { user, groups })?
        }
        _ => decision(&review["spec"], identity)?,
    };
    Ok(Reply::value(201, ask.form, &review))
}

fn decision(spec: &Value, identity: &Identity) -> Result<Value, Fault> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut reason = None;
    let allowed = match (resource.is_object(), path.is_object()) {
        (true, false) => {
            let name = text(&resource["resource"]);
            let subresource = text(&resource["subresource"]);
            let full = if subresource.is_empty() { name } else { format!("{name}/{subresource}") };
            let (verb, group) = (text(&resource["verb"]), text(&resource["group"]));
            access::permits(identity, &Action { verb: &verb, group: &group, resource: &full })
        }
        (false, true) => {
            let allowed = access::permits_path(identity, &text(&path["verb"]), &text(&path["path"]));
            reason = access::why_path(identity).filter(|_| allowed);
            allowed
        }
        (both, _) => {
            let (field, message) = if both {
                let (path, verb) = (json!(text(&path["path"])), json!(text(&path["verb"])));
                let value = format!("{{\"Path\":{path},\"Verb\":{verb}}}");
                let why = "cannot be specified in combination with resourceAttributes";
                ("spec.nonResourceAttributes", format!("Invalid value: {value}: {why}"))
            } else {
                let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                ("spec.resourceAttributes", format!("Invalid value: null: {why}"))
            };
            let causes = vec![cause("FieldValueInvalid", field, message)];
            return Err(Fault::invalid("authorization.k8s.io", "", "", causes));
        }
    };
    Ok(match reason {
        Some(reason) => json!({"allowed": allowed, "reason": reason}),
        None => json!({"allowed": allowed}),
    })
}

/// An object's metadata as the real server prints it, member by member.
fn shown_metadata(metadata: &Value) -> String {
    const ENTRY: &[&str] =
        &["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"];
    const METADATA: &[&str] =
        &["name", "generateName", "namespace", "labels", "annotations", "ownerReferences", "finalizers"];
    let entries: Vec<String> =
        items(&metadata["managedFields"]).map(|entry| metadata::shown(entry, ENTRY)).collect();
    let others = metadata::shown(metadata, METADATA);
    match others.strip_suffix('}') {
        Some(open) if !entries.is_empty() => {
            let comma = if open.len() > 1 { "," } else { "" };
            format!("{open}{comma}\"managedFields\":[{}]}}", entries.join(","))
        }
        _ => others,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_shown_whole_whatever_comes_last_of_it() {
        let entry = json!({"manager": "m", "operation": "Update"});
        for others in [json!({}), json!({"name": "a"}), json!({"name": "a", "labels": {"b": "c"}})] {
            let mut metadata = others.clone();
            assert_eq!(serde_json::from_str::<Value>(&shown_metadata(&metadata)).unwrap(), metadata);
            metadata["managedFields"] = json!([entry]);
            assert_eq!(serde_json::from_str::<Value>(&shown_metadata(&metadata)).unwrap(), metadata);
        }
    }
}
