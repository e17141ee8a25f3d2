//! What the API says when it refuses: Kubernetes `Status` objects, worded as the real server words them, since
//! kubectl and client libraries read them.
//!
//! Not here: when to refuse; that is decided where the rule lives.

use muster_schema::Cause;
use serde_json::{Value, json};

use crate::registry::Resource;

/// A refusal: HTTP code, machine-readable reason, message, and what it is about.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Fault {
    /// HTTP status code.
    pub code: u16,
    /// Kubernetes reason (`NotFound`, `Conflict` …); empty for none.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// `details` of the Status object.
    pub details: Option<Value>,
    /// The continue token of a 410 on a paged list.
    pub resume: Option<String>,
    /// Answer as plain text (paths that no API claims).
    pub plain: bool,
    /// What the client is told besides.
    pub warnings: Box<[String]>,
}

impl Fault {
    /// A refusal without details.
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, details: None, resume: None, plain: false, warnings: Box::default() }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let mut details = json!({});
        if !kind.is_empty() {
            details["kind"] = kind.into();
        }
        if !group.is_empty() {
            details["group"] = group.into();
        }
        if !name.is_empty() {
            details["name"] = name.into();
        }
        self.details = Some(details);
        self
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 404 for an object.
    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", resource.qualified())).about(
            &resource.group,
            &resource.plural,
            name,
        )
    }

    /// 404 for a path that nothing serves, in plain text.
    pub(crate) fn no_page() -> Self {
        Self { plain: true, ..Self::new(404, "", "404 page not found\n") }
    }

    /// 404 for a path inside a served group version.
    pub(crate) fn no_resource() -> Self {
        let mut fault = Self::new(404, "NotFound", "the server could not find the requested resource");
        fault.details = Some(json!({}));
        fault
    }

    /// 409: the name is taken.
    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", resource.qualified())).about(
            &resource.group,
            &resource.plural,
            name,
        )
    }

    /// 409: somebody else wrote first.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 with its own explanation.
    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).about(&resource.group, &resource.plural, name)
    }

    /// 409 of a server-side apply: fields that others own.
    pub(crate) fn apply_conflicts(message: &str, conflicts: &[(String, String)]) -> Self {
        let causes: Vec<Value> = conflicts
            .iter()
            .map(|(manager, path)| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path})
            })
            .collect();
        let mut fault = Self::new(409, "Conflict", message);
        fault.details = Some(json!({"causes": causes}));
        fault
    }

    /// 422 with its causes.
    pub(crate) fn invalid(group: &str, kind: &str, name: &str, mut causes: Vec<Cause>) -> Self {
        causes.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
        let mut texts: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        texts.dedup();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            more => format!("[{}]", more.join(", ")),
        };
        let dot = if group.is_empty() { "" } else { "." };
        let mut fault =
            Self::new(422, "Invalid", format!("{kind}{dot}{group} \"{name}\" is invalid: {text}"))
                .about(group, kind, name);
        let causes: Vec<Value> = causes
            .iter()
            .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
            .collect();
        if let Some(details) = &mut fault.details {
            details["causes"] = causes.into();
        }
        fault
    }

    /// 422 about the options of a request.
    pub(crate) fn invalid_options(kind: &str, cause: Cause) -> Self {
        Self::invalid("meta.k8s.io", kind, "", vec![cause])
    }

    /// 403 about an object.
    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        Self::new(403, "Forbidden", format!("{}{named} is forbidden: {why}", resource.qualified())).about(
            &resource.group,
            &resource.plural,
            name,
        )
    }

    /// 403: a role that lacks it. `full`: the resource with its subresource; `of`: group, resource, namespace, name.
    pub(crate) fn denied(user: &str, verb: &str, full: &str, of: (&str, &str, &str, &str)) -> Self {
        let (group, resource, namespace, name) = of;
        let place = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{namespace}\"")
        };
        let why =
            format!("User \"{user}\" cannot {verb} resource \"{full}\" in API group \"{group}\" {place}");
        let dot = if group.is_empty() { "" } else { "." };
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let message = format!("{resource}{dot}{group}{named} is forbidden: {why}");
        Self::new(403, "Forbidden", message).about(group, resource, name)
    }

    /// 403: nothing new in a namespace that is going away.
    pub(crate) fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut fault = Self::forbidden(resource, name, &why);
        if let Some(details) = &mut fault.details {
            details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]);
        }
        fault
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let mut fault = Self::new(405, "MethodNotAllowed", message);
        fault.details = Some(json!({}));
        fault
    }

    /// 415 with what would have been taken.
    pub(crate) fn unsupported_media(accepted: &[&str]) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                accepted.join(", ")
            ),
        )
    }

    /// 406 of a built-in kind.
    pub(crate) fn no_representation() -> Self {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        let mut fault = Self::new(406, "NotAcceptable", message);
        fault.details = Some(json!({}));
        fault
    }

    /// 406.
    pub(crate) fn not_acceptable() -> Self {
        Self::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
    }

    /// 410: that version is no longer known.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 504.
    pub(crate) fn timeout(message: &str) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// 500.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// The Status object.
    pub(crate) fn to_value(&self) -> Value {
        let mut value = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            value["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            value["details"] = details.clone();
        }
        if let Some(resume) = &self.resume {
            value["metadata"]["continue"] = resume.clone().into();
        }
        value
    }
}

/// A cause of a 422.
pub(crate) fn cause(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Cause {
    Cause { reason, message: message.into(), field: field.into() }
}

/// The Status of a finished deletion.
pub(crate) fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": resource.plural, "uid": uid});
    if !resource.group.is_empty() {
        details["group"] = resource.group.clone().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
