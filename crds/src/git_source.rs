//! GitSource: where the desired resources come from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// How many errors of a revision a GitSource lists; the total is beside them (rule G1).
pub const MAX_LISTED_ERRORS: usize = 50;

/// How many objects of a held removal a GitSource lists; the total is beside them (rule G4).
pub const MAX_LISTED_REMOVALS: usize = 20;

/// How many objects a source may own (rule G6: all of them are on record).
pub const MAX_OWNED: usize = 1000;

/// Where the desired resources of a namespace come from: a Git repository or a local folder.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "GitSource",
    plural = "gitsources",
    singular = "gitsource",
    shortname = "gs",
    category = "muster",
    namespaced,
    status = "GitSourceStatus",
    derive = "PartialEq",
    doc = "Where the desired resources of a namespace come from: a Git repository or a local folder.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.appliedRevision"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Errors", type_ = "integer", json_path = ".status.errorsTotal"),
    printcolumn(name = "Owns", type_ = "integer", json_path = ".status.ownsTotal"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.git.url", priority = 1),
    printcolumn(name = "Folder", type_ = "string", json_path = ".spec.folder.path", priority = 1),
    printcolumn(name = "Attempted", type_ = "string", json_path = ".status.attemptedRevision", priority = 1),
    printcolumn(name = "Held", type_ = "string", json_path = ".status.heldRemoval.digest", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Git') == has(self.git)").message("type Git takes git, and only type Git does"),
    validation = Rule::new("(self.type == 'Folder') == has(self.folder)")
        .message("type Folder takes folder, and only type Folder does")
)]
pub struct GitSourceSpec {
    /// Git: a repository. Folder: a directory on the controller's machine.
    #[serde(rename = "type")]
    pub type_: SourceType,
    /// The repository, with type Git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSpec>,
    /// The directory, with type Folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderSpec>,
    /// Nothing new is applied while true; what is in force stays so.
    #[serde(default)]
    pub suspend: bool,
    /// A revision that removes more than this percentage of what the source owns waits for allowRemoval, from five objects up.
    #[serde(default = "thirty_percent")]
    #[schemars(length(max = 4), regex(pattern = r"^(100|[0-9]{1,2})%$"))]
    pub removal_limit: String,
    /// The digest of a held removal (status.heldRemoval.digest) that may go ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::digest")]
    pub allow_removal: Option<String>,
}

fn thirty_percent() -> String {
    "30%".to_owned()
}

/// The kinds of source.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceType {
    /// A repository.
    Git,
    /// A directory.
    Folder,
}

/// A Git repository.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GitSpec {
    /// Where it is: https, ssh or file. Credentials belong into the secret, not here.
    #[schemars(length(max = 1024), regex(pattern = r"^(https?|ssh|file)://[!-~]+$"))]
    pub url: String,
    /// Which commit is wanted.
    #[serde(rename = "ref")]
    pub reference: GitReference,
    /// The directory inside the repository that holds the resources. Absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub path: Option<String>,
    /// A Secret of the same namespace with `username` and `password`, or with `identity` (an SSH key) and `known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// How often the repository is asked for a new commit.
    #[serde(default = "one_minute")]
    #[schemars(schema_with = "schema::duration")]
    pub interval: String,
}

fn one_minute() -> String {
    "1m".to_owned()
}

/// Which commit is wanted: the head of a branch, or one commit.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.branch) != has(self.commit)").message("write exactly one of branch and commit"))]
pub struct GitReference {
    /// The branch whose head is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub branch: Option<String>,
    /// One commit, as its whole hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::commit")]
    pub commit: Option<String>,
}

/// A Secret of the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The Secret's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// A directory on the controller's machine.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FolderSpec {
    /// The directory's absolute path.
    #[schemars(length(max = 4096), regex(pattern = r"^/"))]
    pub path: String,
}

/// Which revisions a source has, what is wrong with the latest, and what it owns.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GitSourceStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The revision in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::revision")]
    pub applied_revision: Option<String>,
    /// The revision that is being applied; nothing starts in the namespace while it differs from the applied one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::revision")]
    pub applying_revision: Option<String>,
    /// The newest revision that was looked at, whether it could be applied or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::revision")]
    pub attempted_revision: Option<String>,
    /// When the source was last seen to change; checks that find nothing new are not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checked_time: Option<Time>,
    /// What is wrong with the attempted revision; the first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub errors: Vec<SourceError>,
    /// How many errors there are in all.
    #[serde(default)]
    pub errors_total: u32,
    /// A removal that waits for spec.allowRemoval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_removal: Option<HeldRemoval>,
    /// The objects that the source owns, with where they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "atomic"))]
    pub owns: Vec<OwnedObject>,
    /// How many objects the source owns.
    #[serde(default)]
    pub owns_total: u32,
    /// Ready: the newest revision is in force. Stalled: it cannot be without somebody's help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// One error of a revision.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SourceError {
    /// The file, relative to the source's root.
    #[schemars(length(max = 1024))]
    pub file: String,
    /// The line, from 1; 0 where there is none.
    #[serde(default)]
    pub line: u32,
    /// The column, from 1; 0 where there is none.
    #[serde(default)]
    pub column: u32,
    /// The field's path inside the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub field: String,
    /// The rule that it breaks, as in V1; absent for plain form.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 16))]
    pub rule: String,
    /// What is wrong and what would be right.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// A removal that waits for a person.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HeldRemoval {
    /// Names the set; write it into spec.allowRemoval to let it go ahead.
    #[schemars(schema_with = "schema::digest")]
    pub digest: String,
    /// What would be removed or loosened; the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub objects: Vec<crate::ObjectReference>,
    /// How many there are in all.
    pub total: u32,
    /// Why it is held.
    #[schemars(length(max = 1024))]
    pub why: String,
}

/// One object that a source owns.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OwnedObject {
    /// Its kind.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The file that it is written in, relative to the source's root.
    #[schemars(length(max = 1024))]
    pub file: String,
    /// The line of its first key, from 1.
    pub line: u32,
}
