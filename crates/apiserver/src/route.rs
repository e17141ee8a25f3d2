//! From a path to what it asks for.

use std::borrow::Cow;

use http::Method;

use crate::query::{Query, decode};

/// A path, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/version`, `/api`, `/openapi/v3` …: no resource.
    Plain(String),
    /// A resource, served or not.
    Resource(Target),
}

/// What a resource path says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub group: String,
    pub version: String,
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
    /// The old `/watch/` prefix.
    pub watch: bool,
}

pub(crate) fn parse(path: &str) -> Route {
    let parts: Vec<Cow<'_, str>> =
        path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    let plain =
        || Route::Plain(if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { "/".to_owned() });
    let (group, version, mut rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return plain(),
    };
    let mut target = Target { group: group.to_owned(), version: version.to_owned(), ..Target::default() };
    if let ["watch", tail @ ..] = rest
        && !tail.is_empty()
    {
        target.watch = true;
        rest = tail;
    }
    let mut take = |resource: &str, name: &[&str]| {
        target.resource = resource.to_owned();
        match name {
            [] => true,
            [name] => {
                target.name = (*name).to_owned();
                true
            }
            [name, subresource] => {
                target.name = (*name).to_owned();
                target.subresource = (*subresource).to_owned();
                true
            }
            _ => false,
        }
    };
    let understood = match rest {
        // A namespace's own subresources look like resources in it.
        ["namespaces", name, sub @ ("status" | "finalize")] => take("namespaces", &[name, sub]),
        ["namespaces", namespace, resource, tail @ ..] => {
            let understood = take(resource, tail);
            target.namespace = (*namespace).to_owned();
            understood
        }
        [resource, tail @ ..] => take(resource, tail),
        [] => false,
    };
    if understood { Route::Resource(target) } else { plain() }
}

/// The verb of a request for a resource, as access rules and the audit file name it.
pub(crate) fn verb(method: &Method, target: &Target, query: &Query) -> &'static str {
    let named = !target.name.is_empty();
    match *method {
        Method::GET | Method::HEAD if target.watch || query.flag("watch") => "watch",
        Method::GET | Method::HEAD if named => "get",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_kubernetes_reads_them() {
        let target = |path: &str| match parse(path) {
            Route::Resource(t) => format!(
                "{}|{}|{}|{}|{}|{}",
                t.group, t.version, t.namespace, t.resource, t.name, t.subresource
            ),
            Route::Plain(path) => path,
        };
        for (path, expected) in [
            ("/", "/"),
            ("/api/v1", "/api/v1"),
            ("/apis/a.b/v1/", "/apis/a.b/v1"),
            ("/api/v1/namespaces", "|v1||namespaces||"),
            ("/api/v1/namespaces/x", "|v1||namespaces|x|"),
            ("/api/v1/namespaces/x/status", "|v1||namespaces|x|status"),
            ("/api/v1/namespaces/x/configmaps/a%3Ab", "|v1|x|configmaps|a:b|"),
            ("/apis/g.io/v1/namespaces/x/things/a/status", "g.io|v1|x|things|a|status"),
            ("/apis/g.io/v1/things", "g.io|v1||things||"),
        ] {
            assert_eq!(target(path), expected);
        }
    }
}
