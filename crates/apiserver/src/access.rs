//! Who may do what: a small fixed table of roles by group. Not here: roles as objects (RBAC); whoever needs those
//! runs Muster on a cluster.

use http::HeaderMap;

use crate::status::Fault;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User name: a certificate's common name.
    pub user: String,
    /// Groups: a certificate's organizations.
    pub groups: Vec<String>,
}

impl Identity {
    /// A user in a few groups; `system:authenticated` is added.
    pub fn new(user: &str, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        Self { user: user.to_owned(), groups }
    }

    /// May do everything.
    pub fn admin(user: &str) -> Self {
        Self::new(user, &["system:masters"])
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { user: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Action<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    /// With `/subresource`, if there is one.
    pub resource: &'a str,
}

struct Rule {
    groups: &'static [&'static str],
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
}

const READ: &[&str] = &["get", "list", "watch"];
const ALL: &[&str] = &["*"];
const STATUS: &[&str] = &["get", "patch", "update"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
/// The API group of Muster's own kinds. This group, and the names below, are all that this server knows about them.
const OWN: &[&str] = &["muster.dev"];
/// What people write by hand or from Git; not what says that somebody approved, nor what controllers write.
const EDITED: &[&str] = &[
    "disruptionbudgets",
    "enrollmenttokens",
    "fleetmachines",
    "fleetpolicies",
    "gitsources",
    "kernelbaselines",
    "maintenancewindows",
    "packagebaselines",
];

/// What persons with that right say, and nobody in their place.
const SAID: &[&str] = &["rolloutapprovals", "windowoverrides"];

/// Group of people or components → rules.
const ROLES: &[(&str, &[Rule])] = &[
    ("system:masters", &[Rule { groups: ALL, resources: ALL, verbs: ALL }]),
    ("muster:admin", &[Rule { groups: ALL, resources: ALL, verbs: ALL }]),
    (
        // This and the gateway's are what `deploy/base/rbac.yaml` grants on a cluster, row by row; a test compares.
        "muster:controller",
        &[
            Rule {
                groups: OWN,
                resources: &[
                    "disruptionbudgets",
                    "fleetmachines",
                    "fleetpolicies",
                    "kernelbaselines",
                    "maintenancewindows",
                    "packagebaselines",
                ],
                verbs: &["get", "list", "watch", "create", "patch", "delete"],
            },
            Rule {
                groups: OWN,
                resources: &["gitsources"],
                verbs: &["get", "list", "watch", "patch", "update"],
            },
            Rule {
                groups: OWN,
                resources: &["activities", "baselinerollouts"],
                verbs: &["get", "list", "watch", "create", "patch", "update", "delete"],
            },
            // What people said; it never says it for them, and clears away what says nothing any more.
            Rule { groups: OWN, resources: &["windowoverrides"], verbs: READ },
            Rule {
                groups: OWN,
                resources: &["rolloutapprovals"],
                verbs: &["get", "list", "watch", "delete"],
            },
            Rule {
                groups: OWN,
                resources: &["packageinventories", "packageproposals"],
                verbs: &["get", "list", "watch", "patch", "delete"],
            },
            Rule {
                groups: OWN,
                resources: &[
                    "activities/status",
                    "baselinerollouts/status",
                    "disruptionbudgets/status",
                    "fleetmachines/status",
                    "fleetpolicies/status",
                    "gitsources/status",
                    "kernelbaselines/status",
                    "maintenancewindows/status",
                    "packagebaselines/status",
                ],
                verbs: STATUS,
            },
            Rule {
                groups: &["coordination.k8s.io"],
                resources: &["leases"],
                verbs: &["get", "list", "watch", "create", "update"],
            },
            Rule { groups: &[""], resources: &["configmaps"], verbs: READ },
            Rule { groups: &[""], resources: &["secrets"], verbs: &["get", "create", "update"] },
            Rule { groups: &["events.k8s.io"], resources: &["events"], verbs: &["create", "patch"] },
        ],
    ),
    (
        "muster:gateway",
        &[
            Rule {
                groups: OWN,
                resources: &["fleetmachines"],
                verbs: &["get", "list", "watch", "create", "update"],
            },
            Rule { groups: OWN, resources: &["fleetmachines/status"], verbs: &["get", "patch"] },
            Rule { groups: OWN, resources: &["activities", "enrollmenttokens"], verbs: READ },
            Rule { groups: OWN, resources: &["activities/status", "enrollmenttokens/status"], verbs: STATUS },
            Rule {
                groups: OWN,
                resources: &["packageinventories", "packageproposals"],
                verbs: &["get", "list", "watch", "create", "patch"],
            },
            Rule {
                groups: OWN,
                resources: &["fleetpolicies", "gitsources", "maintenancewindows", "windowoverrides"],
                verbs: READ,
            },
            Rule {
                groups: &["coordination.k8s.io"],
                resources: &["leases"],
                verbs: &["get", "list", "watch", "create", "update", "patch"],
            },
            Rule {
                groups: &[""],
                resources: &["configmaps"],
                verbs: &["get", "list", "watch", "create", "update", "patch"],
            },
            Rule { groups: &[""], resources: &["secrets"], verbs: &["get"] },
        ],
    ),
    (
        "muster:editor",
        &[
            Rule { groups: OWN, resources: ALL, verbs: READ },
            Rule { groups: OWN, resources: EDITED, verbs: WRITE },
            // To cancel one.
            Rule { groups: OWN, resources: &["activities"], verbs: &["patch", "update"] },
            Rule { groups: &[""], resources: &["configmaps", "secrets"], verbs: READ },
            Rule { groups: &[""], resources: &["configmaps", "secrets"], verbs: WRITE },
            Rule { groups: &["", "events.k8s.io"], resources: &["events", "namespaces"], verbs: READ },
            Rule { groups: &["coordination.k8s.io"], resources: &["leases"], verbs: READ },
            Rule {
                groups: &["apiextensions.k8s.io"],
                resources: &["customresourcedefinitions"],
                verbs: READ,
            },
        ],
    ),
    (
        "muster:approver",
        &[
            Rule { groups: OWN, resources: ALL, verbs: READ },
            Rule { groups: OWN, resources: SAID, verbs: &["create"] },
            Rule { groups: &["", "events.k8s.io"], resources: &["events", "namespaces"], verbs: READ },
            Rule {
                groups: &["apiextensions.k8s.io"],
                resources: &["customresourcedefinitions"],
                verbs: READ,
            },
        ],
    ),
    (
        "muster:viewer",
        &[
            Rule { groups: OWN, resources: ALL, verbs: READ },
            Rule {
                groups: &["", "events.k8s.io"],
                resources: &["events", "namespaces", "configmaps"],
                verbs: READ,
            },
            Rule { groups: &["coordination.k8s.io"], resources: &["leases"], verbs: READ },
            Rule {
                groups: &["apiextensions.k8s.io"],
                resources: &["customresourcedefinitions"],
                verbs: READ,
            },
        ],
    ),
    (
        "system:authenticated",
        &[
            Rule {
                groups: &["authorization.k8s.io"],
                resources: &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                verbs: &["create"],
            },
            Rule {
                groups: &["authentication.k8s.io"],
                resources: &["selfsubjectreviews"],
                verbs: &["create"],
            },
        ],
    ),
];

/// Paths that anybody may read.
const OPEN_PATHS: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];
/// Paths (and what is below) that whoever has an identity may read.
const DISCOVERY: &[&str] = &["/.well-known", "/api", "/apis", "/openapi"];

fn has(list: &[&str], item: &str) -> bool {
    list.iter().any(|one| *one == "*" || *one == item)
}

impl Rule {
    fn permits(&self, action: &Action<'_>) -> bool {
        let Action { verb, group, resource } = action;
        has(self.groups, group) && has(self.verbs, verb) && has(self.resources, resource)
    }
}

fn rules(identity: &Identity) -> impl Iterator<Item = &'static Rule> {
    ROLES
        .iter()
        .filter(|(group, _)| identity.groups.iter().any(|own| own == group))
        .flat_map(|(_, rules)| *rules)
}

/// May the identity do this to a resource?
pub(crate) fn permits(identity: &Identity, action: &Action<'_>) -> bool {
    rules(identity).any(|rule| rule.permits(action))
}

/// May the identity do this to a path that is no resource?
pub(crate) fn permits_path(identity: &Identity, verb: &str, path: &str) -> bool {
    let below =
        |open: &&str| path == *open || path.strip_prefix(*open).is_some_and(|rest| rest.starts_with('/'));
    let reads = matches!(verb, "get" | "head");
    may_everything(identity)
        || reads
            && (OPEN_PATHS.iter().any(below)
                || is_known(identity) && (path == "/" || DISCOVERY.iter().any(below)))
}

fn may_everything(identity: &Identity) -> bool {
    identity.groups.iter().any(|group| matches!(&**group, "system:masters" | "muster:admin"))
}

fn is_known(identity: &Identity) -> bool {
    identity.groups.iter().any(|group| group == "system:authenticated")
}

/// Why the identity may read a path, in the words of a cluster, whose default roles grant just that.
pub(crate) fn why_path(identity: &Identity) -> Option<String> {
    let (role, group) = match is_known(identity) {
        _ if may_everything(identity) => return None,
        true => ("system:discovery", "system:authenticated"),
        false => ("system:public-info-viewer", "system:unauthenticated"),
    };
    Some(format!(
        "RBAC: allowed by ClusterRoleBinding \"{role}\" of ClusterRole \"{role}\" to Group \"{group}\""
    ))
}

/// The status of a SelfSubjectRulesReview.
pub(crate) fn rules_of(identity: &Identity) -> serde_json::Value {
    use serde_json::{Value, json};
    let resources: Value = rules(identity)
        .map(|rule| json!({"apiGroups": rule.groups, "resources": rule.resources, "verbs": rule.verbs}))
        .collect();
    let all = rules(identity).any(|rule| rule.groups == ALL);
    let paths = if all {
        json!([{"nonResourceURLs": ["*"], "verbs": ["*"]}])
    } else {
        // As a cluster's default roles list them.
        let get = |paths: &[&str]| json!({"nonResourceURLs": paths, "verbs": ["get"]});
        let open = [OPEN_PATHS, &["/version/"]].concat();
        let below = DISCOVERY.iter().map(|path| format!("{path}/*")).collect::<Vec<_>>();
        let both = DISCOVERY.iter().zip(&below).flat_map(|(path, below)| [*path, below]).collect::<Vec<_>>();
        let (well_known, discovery) = both.split_at(2);
        let mut discovery = [discovery, &open].concat();
        discovery.sort_unstable();
        json!([get(well_known), get(&discovery), get(&open)])
    };
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}

/// Whom a request acts as, if not as itself.
///
/// Certificates alone say who somebody is: a bearer token is nobody's, so whoever has only that is told 401.
/// Impersonation (`kubectl --as`) is for those who may do everything anyway; it lets them ask what others may do.
pub(crate) fn identify(headers: &HeaderMap, identity: &Identity) -> Result<Option<Identity>, Fault> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let anonymous = identity.groups.iter().any(|group| group == "system:unauthenticated");
    let bearer = text("authorization")
        .split_once(' ')
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty());
    if anonymous && bearer {
        return Err(Fault::unauthorized());
    }
    let user = text("impersonate-user");
    let mut groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    if user.is_empty() {
        return if groups.is_empty() {
            Ok(None)
        } else {
            Err(Fault::bad_request("impersonating groups needs a user: name one with Impersonate-User"))
        };
    }
    let wanted = [("users", user)].into_iter().chain(groups.iter().map(|group| ("groups", &**group)));
    for (resource, name) in wanted {
        if !permits(identity, &Action { verb: "impersonate", group: "", resource }) {
            let of = ("", resource, "", name);
            return Err(Fault::denied(&identity.user, "impersonate", resource, of));
        }
    }
    if user != "system:anonymous" && !groups.iter().any(|group| group == "system:authenticated") {
        groups.push("system:authenticated".to_owned());
    }
    Ok(Some(Identity { user: user.to_owned(), groups }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::items;

    #[test]
    fn only_who_may_do_everything_acts_as_somebody_else() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            let value = |text: &str| http::HeaderValue::from_str(text).unwrap();
            pairs.iter().map(|(key, text)| (http::HeaderName::from_static(key), value(text))).collect()
        };
        let ask = |who: &Identity, pairs: &[(&'static str, &str)]| {
            identify(&headers(pairs), who).map_err(|fault| fault.code)
        };
        let admin = Identity::admin("root");
        let bob = [("impersonate-user", "bob"), ("impersonate-group", "muster:viewer")];
        assert_eq!(ask(&admin, &bob), Ok(Some(Identity::new("bob", &["muster:viewer"]))));
        assert_eq!(ask(&Identity::new("eve", &["muster:editor"]), &bob), Err(403));
        assert_eq!(ask(&admin, &bob[1..]), Err(400));
        assert_eq!(ask(&admin, &[("authorization", "Bearer x")]), Ok(None));
        assert_eq!(ask(&Identity::anonymous(), &[("authorization", "bearer x")]), Err(401));
        assert_eq!(ask(&Identity::anonymous(), &[("authorization", "Basic eDp5")]), Ok(None));
    }

    #[test]
    fn roles_permit_what_their_holders_need_and_no_more() {
        let ask = |who: &str, verb, group, resource| {
            permits(&Identity::new("x", &[who]), &Action { verb, group, resource })
        };
        assert!(ask("system:masters", "delete", "any.example.com", "things"));
        assert!(ask("muster:controller", "patch", "muster.dev", "fleetmachines/status"));
        assert!(ask("muster:controller", "get", "", "secrets"));
        for said in SAID {
            assert!(ask("muster:controller", "watch", "muster.dev", said));
            assert!(!ask("muster:controller", "create", "muster.dev", said));
            assert!(!ask("muster:gateway", "create", "muster.dev", said));
        }
        assert!(!ask("muster:gateway", "list", "", "secrets"));
        assert!(ask("muster:viewer", "watch", "muster.dev", "fleetmachines"));
        assert!(!ask("muster:viewer", "get", "", "secrets"));
        assert!(!ask("nobody", "get", "muster.dev", "fleetmachines"));
        assert!(ask("muster:editor", "create", "muster.dev", "packagebaselines"));
        assert!(ask("muster:editor", "patch", "muster.dev", "activities"));
        assert!(!ask("muster:editor", "delete", "muster.dev", "activities"));
        assert!(!ask("muster:editor", "patch", "muster.dev", "fleetmachines/status"));
        assert!(!ask("muster:editor", "create", "muster.dev", "rolloutapprovals"));
        assert!(ask("muster:approver", "create", "muster.dev", "rolloutapprovals"));
        assert!(ask("muster:approver", "create", "muster.dev", "windowoverrides"));
        assert!(!ask("muster:approver", "delete", "muster.dev", "windowoverrides"));
        assert!(!ask("muster:approver", "create", "muster.dev", "packagebaselines"));
        assert!(permits_path(&Identity::anonymous(), "get", "/readyz"));
        assert!(!permits_path(&Identity::anonymous(), "get", "/apis"));
        assert!(!permits_path(&Identity::new("x", &[]), "get", "/metrics"));
    }

    /// What a component may on a cluster: all that its Role grants (names of single Secrets apart).
    #[test]
    fn components_may_what_they_may_on_a_cluster() {
        let manifests = include_str!("../../../deploy/base/rbac.yaml");
        for (group, name) in
            [("muster:controller", "muster-controller"), ("muster:gateway", "muster-gateway")]
        {
            let role = manifests
                .split("\n---\n")
                .map(|document| serde_saphyr::from_str::<serde_json::Value>(document).unwrap())
                .find(|object| object["kind"] == "Role" && object["metadata"]["name"] == name)
                .unwrap();
            let words = |list: &serde_json::Value| -> Vec<String> {
                items(list).map(|word| word.as_str().unwrap().to_owned()).collect()
            };
            let mut granted = std::collections::BTreeSet::new();
            for rule in items(&role["rules"]) {
                for group in words(&rule["apiGroups"]) {
                    for resource in words(&rule["resources"]) {
                        let verbs = words(&rule["verbs"]).into_iter();
                        granted.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb)));
                    }
                }
            }
            let mut permitted = std::collections::BTreeSet::new();
            for rule in rules(&Identity { user: String::new(), groups: vec![group.to_owned()] }) {
                for group in rule.groups {
                    for resource in rule.resources {
                        let verbs = rule.verbs.iter();
                        permitted.extend(
                            verbs.map(|verb| (group.to_string(), resource.to_string(), verb.to_string())),
                        );
                    }
                }
            }
            let differ: Vec<_> = granted.symmetric_difference(&permitted).collect();
            assert!(differ.is_empty(), "{name}: {differ:?}");
        }
    }
}
