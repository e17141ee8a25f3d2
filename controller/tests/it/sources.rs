//! From files to resources: what a source applies, and what it does not.

use std::path::Path;

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use muster_crds::{
    DisruptionBudget, FleetMachine, GitSource, GitSourceStatus, MaintenanceWindow, PackageBaseline,
};
use serde_json::json;

use crate::world::{World, openssl};

const BUDGET: &str = "
apiVersion: muster.dev/v1alpha1
kind: DisruptionBudget
metadata: {name: web}
spec: {machineSelector: {matchLabels: {role: web}}, maxUnavailable: 1}
";

fn baseline(name: &str) -> String {
    format!(
        "apiVersion: muster.dev/v1alpha1\nkind: PackageBaseline\nmetadata: {{name: {name}}}\nspec:\n  machineSelector: {{}}\n  packages: [{{name: curl}}]\n"
    )
}

fn write(folder: &Path, file: &str, text: &str) {
    // As editors do: a file is there whole or not at all.
    std::fs::write(folder.join(".new"), text).unwrap();
    std::fs::rename(folder.join(".new"), folder.join(file)).unwrap();
}

async fn follow(world: &World, folder: &Path) {
    let path = folder.display();
    world
        .apply(&format!(
            "apiVersion: muster.dev/v1alpha1\nkind: GitSource\nmetadata: {{name: main}}\nspec: {{type: Folder, folder: {{path: {path}}}}}\n"
        ))
        .await;
}

fn status(source: &GitSource) -> GitSourceStatus {
    source.status.clone().unwrap_or_default()
}

fn ready(source: &GitSource) -> (String, String) {
    let conditions = status(source).conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map(|ready| (ready.reason.clone(), ready.message.clone())).unwrap_or_default()
}

async fn until_reason(world: &World, reason: &str) -> GitSource {
    world.until::<GitSource>("main", reason, |source| ready(source).0 == reason).await
}

/// Until the source owns so many objects, all in force.
async fn until_owns(world: &World, objects: u32) -> GitSource {
    let settled = |source: &GitSource| {
        let status = status(source);
        ready(source).0 == "Applied"
            && status.owns_total == objects
            && status.applying_revision == status.applied_revision
    };
    world.until::<GitSource>("main", "settled", settled).await
}

async fn merge(world: &World, spec: serde_json::Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    world.api::<GitSource>().patch("main", &PatchParams::default(), &patch).await.unwrap();
}

// rule: G2, G3
#[tokio::test]
async fn a_saved_file_becomes_resources_that_say_where_they_come_from() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", &format!("# web\n{}---{BUDGET}", baseline("web")));
    follow(&world, folder.path()).await;
    let source = until_owns(&world, 2).await;
    let revision = status(&source).applied_revision.unwrap();
    let made = world.api::<PackageBaseline>().get("web").await.unwrap();
    assert_eq!(made.labels()["source.muster.dev/name"], "main");
    assert_eq!(made.annotations()["source.muster.dev/file"], "a.yaml:2");
    assert_eq!(made.annotations()["source.muster.dev/revision"], revision);
    write(folder.path(), "b.yaml", &baseline("db"));
    let source = until_owns(&world, 3).await;
    let revision = status(&source).applied_revision.unwrap();
    let made = world.api::<PackageBaseline>().get("web").await.unwrap();
    assert_eq!(
        made.annotations()["source.muster.dev/revision"],
        revision,
        "every object carries its revision"
    );
    std::fs::remove_file(folder.path().join("b.yaml")).unwrap();
    until_owns(&world, 2).await;
    assert!(world.api::<PackageBaseline>().get_opt("db").await.unwrap().is_none());
    world.stop().await;
}

// rule: G1
#[tokio::test]
async fn a_broken_save_changes_nothing_and_names_its_line() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", &baseline("web"));
    follow(&world, folder.path()).await;
    let good = status(&until_owns(&world, 1).await);
    // Its status is the controller's and may follow later.
    let written = |baseline: PackageBaseline| (baseline.metadata.generation, baseline.metadata.annotations);
    let before = written(world.api::<PackageBaseline>().get("web").await.unwrap());
    // Broken first: whenever the source looks, no revision in between is a good one.
    write(folder.path(), "a.yaml", &baseline("web").replace("curl", "Curl"));
    write(folder.path(), "b.yaml", &baseline("db"));
    let broken = until_reason(&world, "RevisionInvalid").await;
    let error = &status(&broken).errors[0];
    assert_eq!((error.file.as_str(), error.line, status(&broken).errors_total), ("a.yaml", 6, 1));
    assert_eq!(status(&broken).applied_revision, good.applied_revision, "the last good one stays in force");
    assert_eq!(written(world.api::<PackageBaseline>().get("web").await.unwrap()), before);
    assert!(
        world.api::<PackageBaseline>().get_opt("db").await.unwrap().is_none(),
        "not the good half of it either"
    );
    write(folder.path(), "a.yaml", &baseline("web"));
    assert_eq!(status(&until_owns(&world, 2).await).errors_total, 0);
    world.stop().await;
}

// rule: G1
#[tokio::test]
async fn what_only_the_server_refuses_is_an_error_of_the_revision() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    world.machine("web-01", &openssl("3.0.14-1")).await;
    let identity = |digit: char| format!("00000000-0000-0000-0000-{}", digit.to_string().repeat(12));
    let patch = Patch::Merge(json!({"spec": {"identity": identity('1')}}));
    world.api::<FleetMachine>().patch("web-01", &PatchParams::default(), &patch).await.unwrap();
    let machine = format!(
        "apiVersion: muster.dev/v1alpha1\nkind: FleetMachine\nmetadata: {{name: web-01}}\nspec:\n  identity: {}\n",
        identity('2')
    );
    write(folder.path(), "a.yaml", &format!("{}---\n{machine}", baseline("web")));
    follow(&world, folder.path()).await;
    let refused = until_reason(&world, "RevisionInvalid").await;
    assert!(ready(&refused).1.contains("identity never changes"), "{}", ready(&refused).1);
    assert!(world.api::<PackageBaseline>().get_opt("web").await.unwrap().is_none());
    world.stop().await;
}

// rule: G4, G6
#[tokio::test]
async fn an_emptied_folder_removes_nothing_until_a_person_allows_it() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", &baseline("web"));
    follow(&world, folder.path()).await;
    until_owns(&world, 1).await;
    std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
    let held = status(&until_reason(&world, "RemovalHeld").await).held_removal.unwrap();
    assert_eq!((held.total, held.objects[0].name.as_str()), (1, "web"));
    assert!(world.api::<PackageBaseline>().get_opt("web").await.unwrap().is_some());
    // A folder that is gone is not an empty one, whatever is allowed.
    std::fs::rename(folder.path(), folder.path().with_extension("away")).unwrap();
    merge(&world, json!({"allowRemoval": held.digest})).await;
    until_reason(&world, "SourceUnreadable").await;
    assert!(world.api::<PackageBaseline>().get_opt("web").await.unwrap().is_some());
    std::fs::rename(folder.path().with_extension("away"), folder.path()).unwrap();
    until_owns(&world, 0).await;
    assert!(world.api::<PackageBaseline>().get_opt("web").await.unwrap().is_none());
    world.stop().await;
}

// rule: G4
#[tokio::test]
async fn a_freeze_does_not_go_by_itself_while_it_guards_a_machine() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    world.machine("web-01", &openssl("3.0.14-1")).await;
    let freeze = "apiVersion: muster.dev/v1alpha1\nkind: MaintenanceWindow\nmetadata: {name: freeze}\nspec: {machineSelector: {}, action: Deny, schedule: 0 0 * * *, duration: 1h}\n";
    write(folder.path(), "a.yaml", &baseline("web"));
    write(folder.path(), "b.yaml", freeze);
    follow(&world, folder.path()).await;
    until_owns(&world, 2).await;
    std::fs::remove_file(folder.path().join("b.yaml")).unwrap();
    let held = until_reason(&world, "RemovalHeld").await;
    assert!(
        ready(&held).1.contains("machines lose a freeze: MaintenanceWindow freeze"),
        "{}",
        ready(&held).1
    );
    assert!(world.api::<MaintenanceWindow>().get_opt("freeze").await.unwrap().is_some());
    world.stop().await;
}

// rule: G5
#[tokio::test]
async fn a_machine_that_leaves_git_is_released_not_deleted() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    world.machine("web-01", &openssl("3.0.14-1")).await;
    write(folder.path(), "a.yaml", &baseline("web"));
    write(
        folder.path(),
        "b.yaml",
        "apiVersion: muster.dev/v1alpha1\nkind: FleetMachine\nmetadata: {name: web-01, labels: {role: web}}\n",
    );
    follow(&world, folder.path()).await;
    until_owns(&world, 2).await;
    let machine = world.api::<FleetMachine>().get("web-01").await.unwrap();
    assert_eq!((machine.labels()["role"].as_str(), machine.spec.admitted), ("web", true));
    std::fs::remove_file(folder.path().join("b.yaml")).unwrap();
    until_owns(&world, 1).await;
    let machine = world.api::<FleetMachine>().get("web-01").await.unwrap();
    assert!(!machine.labels().contains_key("role") && machine.spec.admitted, "what others said of it stays");
    assert!(!machine.labels().contains_key("source.muster.dev/name"));
    world.stop().await;
}

// rule: G7
#[tokio::test]
async fn a_restarted_controller_that_finds_the_same_commit_writes_nothing() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let git = |arguments: &[&str]| {
        let done =
            std::process::Command::new("git").arg("-C").arg(folder.path()).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q", "-b", "main"]);
    let commit = || {
        git(&["add", "-A"]);
        git(&["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", "change"]);
    };
    write(folder.path(), "a.yaml", &baseline("web"));
    commit();
    world
        .apply(&format!(
            "apiVersion: muster.dev/v1alpha1\nkind: GitSource\nmetadata: {{name: main}}\nspec: {{type: Git, git: {{url: 'file://{path}', ref: {{branch: main}}, interval: 1s}}}}\n"
        ))
        .await;
    let source = until_owns(&world, 1).await;
    assert!(status(&source).applied_revision.unwrap().starts_with("main@sha1:"));
    world.until::<PackageBaseline>("web", "planned", |baseline| baseline.status.is_some()).await;
    world.stop().await;
    let before: Vec<String> =
        world.versions().await.into_iter().filter(|line| line.starts_with("GitSource")).collect();
    let made = world.api::<PackageBaseline>().get("web").await.unwrap();
    world.start();
    // What the next commit brings shows that everything before it was looked at.
    let probe = world.api::<DisruptionBudget>();
    world.apply(BUDGET).await;
    world.until::<DisruptionBudget>("web", "planned", |budget| budget.status.is_some()).await;
    let after: Vec<String> =
        world.versions().await.into_iter().filter(|line| line.starts_with("GitSource")).collect();
    assert_eq!(after, before);
    assert_eq!(
        world.api::<PackageBaseline>().get("web").await.unwrap().metadata.managed_fields,
        made.metadata.managed_fields
    );
    probe.delete("web", &DeleteParams::default()).await.unwrap();
    write(folder.path(), "b.yaml", &baseline("db"));
    commit();
    until_owns(&world, 2).await;
    world.stop().await;
}

// rule: G2
#[tokio::test]
async fn what_somebody_takes_away_by_hand_comes_back() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", &format!("{}---{BUDGET}", baseline("web")));
    follow(&world, folder.path()).await;
    until_owns(&world, 2).await;
    let budgets = world.api::<DisruptionBudget>();
    let first = budgets.get("web").await.unwrap();
    budgets.delete("web", &DeleteParams::default()).await.unwrap();
    let second = world.until::<DisruptionBudget>("web", "back", |budget| budget.uid() != first.uid()).await;
    let patch = Patch::Merge(json!({"spec": {"maxUnavailable": 5}}));
    budgets.patch("web", &PatchParams::default(), &patch).await.unwrap();
    let as_written =
        |budget: &DisruptionBudget| budget.spec == second.spec && budget.metadata.generation > Some(2);
    world.until::<DisruptionBudget>("web", "as written", as_written).await;
    world.stop().await;
}

// rule: G2
#[tokio::test]
async fn a_suspended_source_waits_and_a_deleted_one_leaves_what_it_applied() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", &baseline("web"));
    follow(&world, folder.path()).await;
    until_owns(&world, 1).await;
    merge(&world, json!({"suspend": true})).await;
    until_reason(&world, "Suspended").await;
    write(folder.path(), "b.yaml", &baseline("db"));
    merge(&world, json!({"suspend": false})).await;
    until_owns(&world, 2).await;
    world.api::<GitSource>().delete("main", &DeleteParams::default()).await.unwrap();
    // Another source may take over what a deleted one left.
    follow(&world, folder.path()).await;
    let taken = until_owns(&world, 2).await;
    assert_eq!(status(&taken).owns.len(), 2);
    assert_eq!(world.api::<PackageBaseline>().list(&Default::default()).await.unwrap().items.len(), 2);
    world.stop().await;
}
