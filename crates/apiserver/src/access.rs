//! Who may do what: a small fixed table of roles by group. Not here: roles as objects (RBAC); whoever needs those
//! runs Muster on a cluster.

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
/// The API group of Muster's own kinds: the only thing that this server knows about them.
const OWN: &[&str] = &["muster.dev"];

/// Group of people or components → rules.
const ROLES: &[(&str, &[Rule])] = &[
    ("system:masters", &[Rule { groups: ALL, resources: ALL, verbs: ALL }]),
    ("muster:admin", &[Rule { groups: ALL, resources: ALL, verbs: ALL }]),
    (
        "muster:controller",
        &[
            Rule { groups: OWN, resources: ALL, verbs: ALL },
            Rule { groups: &["", "events.k8s.io"], resources: &["events"], verbs: ALL },
            Rule { groups: &["coordination.k8s.io"], resources: &["leases"], verbs: ALL },
            Rule { groups: &[""], resources: &["configmaps"], verbs: ALL },
            Rule { groups: &[""], resources: &["secrets", "namespaces"], verbs: READ },
            Rule {
                groups: &["apiextensions.k8s.io"],
                resources: &["customresourcedefinitions"],
                verbs: READ,
            },
        ],
    ),
    (
        "muster:gateway",
        &[
            Rule { groups: OWN, resources: ALL, verbs: ALL },
            Rule {
                groups: &["", "events.k8s.io"],
                resources: &["events"],
                verbs: &["create", "patch", "update"],
            },
            Rule { groups: &["coordination.k8s.io"], resources: &["leases"], verbs: ALL },
            Rule { groups: &[""], resources: &["configmaps"], verbs: ALL },
            Rule { groups: &[""], resources: &["namespaces"], verbs: READ },
            Rule { groups: &[""], resources: &["secrets"], verbs: &["get"] },
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
const DISCOVERY: &[&str] = &["/api", "/apis", "/openapi"];

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
    let known = identity.groups.iter().any(|group| group == "system:authenticated");
    let all = identity.groups.iter().any(|group| matches!(&**group, "system:masters" | "muster:admin"));
    all || reads && (OPEN_PATHS.iter().any(below) || known && (path == "/" || DISCOVERY.iter().any(below)))
}

/// Rules for a SelfSubjectRulesReview.
pub(crate) fn rules_of(identity: &Identity) -> serde_json::Value {
    rules(identity)
        .map(|rule| serde_json::json!({"apiGroups": rule.groups, "resources": rule.resources, "verbs": rule.verbs}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_permit_what_their_holders_need_and_no_more() {
        let ask = |who: &str, verb, group, resource| {
            permits(&Identity::new("x", &[who]), &Action { verb, group, resource })
        };
        assert!(ask("system:masters", "delete", "any.example.com", "things"));
        assert!(ask("muster:controller", "patch", "muster.dev", "fleetmachines/status"));
        assert!(ask("muster:controller", "get", "", "secrets"));
        assert!(!ask("muster:controller", "create", "", "secrets"));
        assert!(!ask("muster:gateway", "list", "", "secrets"));
        assert!(ask("muster:viewer", "watch", "muster.dev", "fleetmachines"));
        assert!(!ask("muster:viewer", "get", "", "secrets"));
        assert!(!ask("nobody", "get", "muster.dev", "fleetmachines"));
        assert!(permits_path(&Identity::anonymous(), "get", "/readyz"));
        assert!(!permits_path(&Identity::anonymous(), "get", "/apis"));
        assert!(!permits_path(&Identity::new("x", &[]), "get", "/metrics"));
    }
}
