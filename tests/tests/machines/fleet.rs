//! What most cases begin with: a small fleet that has enrolled, and the questions that they ask it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_tests::{
    Activity, Desired, Kubectl, Lab, Machine, Muster, MusterOptions, Package, until, until_or_say,
};
use serde_json::Value;

/// How long Muster may take to see, plan, simulate, do or tell one thing: it takes seconds, and several times that on
/// a busy machine with two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// The same for kubectl.
const PATIENCE_SECONDS: u32 = 180;

/// A lab with `muster up` on a folder and machines whose agents have reported. Dropped from the first field on.
pub(crate) struct Fleet {
    pub(crate) muster: Muster,
    pub(crate) machines: Vec<Machine>,
    pub(crate) desired: Desired,
    pub(crate) lab: Lab,
}

impl Fleet {
    /// Machines of these names that know the archive, have the packages of `before` installed, and enrolled; the
    /// folder is empty as yet.
    #[track_caller]
    pub(crate) fn new<const N: usize>(names: [&str; N], archive: &[Package], before: &[&str]) -> Self {
        let lab = Lab::new();
        lab.archive().publish(archive);
        let machines: Vec<Machine> = lab.machines(names).into();
        for machine in &machines {
            update(machine);
            if !before.is_empty() {
                machine.run(&format!("apt-get -q install -y {}", before.join(" ")));
            }
        }
        let desired = lab.desired();
        desired.write("README.md", "What the machines are to have.\n");
        let muster = lab.muster(&desired.path().to_string_lossy());
        let fleet = Self { muster, machines, desired, lab };
        for machine in &fleet.machines {
            fleet.muster.install_agent(machine, &fleet.muster.enrol(&[]));
        }
        for machine in &fleet.machines {
            fleet.reports(machine.name());
        }
        fleet
    }

    pub(crate) fn kubectl(&self) -> Kubectl {
        self.muster.kubectl()
    }

    /// Offers more packages, and lets every machine know.
    pub(crate) fn publish(&self, packages: &[Package]) {
        self.lab.archive().publish(packages);
        self.machines.iter().for_each(update);
    }

    /// Waits until the machine's first report is on record.
    #[track_caller]
    pub(crate) fn reports(&self, machine: &str) {
        until(PATIENCE, &format!("the first report of {machine}"), || {
            let list = self.kubectl().list("fm");
            list.iter()
                .any(|fm| {
                    fm["metadata"]["name"] == machine && fm.pointer("/status/reported/inventory").is_some()
                })
                .then_some(())
        });
    }

    /// The activities on a machine, by number.
    #[track_caller]
    pub(crate) fn activities_on(&self, machine: &str) -> Vec<Activity> {
        let mut all = self.kubectl().activities();
        all.retain(|activity| activity.machine == machine);
        all
    }

    /// Waits until a machine's decision has that verdict and reason, and returns the decision.
    #[track_caller]
    pub(crate) fn decides(&self, machine: &str, verdict: &str, reason: &str) -> Value {
        decides(&self.kubectl(), machine, verdict, reason)
    }

    /// Waits until a machine has that version (`None`: has it not), as its dpkg says, and Muster knows that it is as
    /// wanted.
    #[track_caller]
    pub(crate) fn has(&self, machine: &Machine, package: &str, version: Option<&str>) {
        comes_to_have(&self.kubectl(), machine, package, version);
        self.decides(machine.name(), "Converged", "AsWanted");
    }

    /// Waits until `count` activities are over on all machines together and none is under way, and returns them.
    #[track_caller]
    pub(crate) fn finished(&self, count: usize) -> Vec<Activity> {
        let what = format!("{count} activities to be over");
        until(PATIENCE, &what, || {
            let all = self.kubectl().activities();
            assert!(all.len() <= count, "there are more than {count} activities: {all:#?}");
            (all.len() == count && all.iter().all(is_over)).then_some(all)
        })
    }
}

/// `apt-get update`, as a machine's own timer does it twice a day.
#[track_caller]
pub(crate) fn update(machine: &Machine) {
    machine.run("apt-get -q -o DPkg::Lock::Timeout=60 -o APT::Update::Error-Mode=any update");
}

/// Starts `muster up` on a Git repository.
#[track_caller]
pub(crate) fn muster_on_git(lab: &Lab, url: &str) -> Muster {
    let muster = lab.muster_with(MusterOptions::of(url));
    // What a person would leave at a minute is asked for each second here; `muster up` leaves the field to people.
    let patch = r#"{"spec":{"git":{"interval":"1s"}}}"#;
    muster.kubectl().run(&["patch", "gitsource", "up", "--type=merge", "--patch", patch]);
    muster
}

/// Waits until a machine's decision has that verdict and reason, and returns the decision.
#[track_caller]
pub(crate) fn decides(kubectl: &Kubectl, machine: &str, verdict: &str, reason: &str) -> Value {
    let object = format!("fm/{machine}");
    let timeout = format!("--timeout={PATIENCE_SECONDS}s");
    let condition = format!("--for=jsonpath={{.status.decision.reason}}={reason}");
    let waited = kubectl.exec(&["wait", &object, &condition, &timeout]);
    let decision = decision(kubectl, machine);
    assert!(waited.is_success(), "{machine} never was {verdict}({reason}), but is {decision:#}\n{waited}");
    assert_eq!(decision["verdict"], verdict, "{decision:#}");
    decision
}

/// What is decided about a machine at present.
#[track_caller]
pub(crate) fn decision(kubectl: &Kubectl, machine: &str) -> Value {
    kubectl.json(&["get", "fm", machine]).pointer("/status/decision").cloned().unwrap_or_default()
}

/// Waits until a machine has that version, as its dpkg says (`None`: until it has none).
#[track_caller]
pub(crate) fn comes_to_have(kubectl: &Kubectl, machine: &Machine, package: &str, version: Option<&str>) {
    let what = format!("{} to have {package} {version:?}", machine.name());
    until_or_say(PATIENCE, &what, || {
        let installed = machine.installed(package);
        if installed.as_deref() == version {
            return Ok(());
        }
        // Asked only if it is to be shown.
        Err(std::fmt::from_fn(move |f| {
            let decision = decision(kubectl, machine.name());
            write!(f, "it has {installed:?}, and Muster says {decision:#}\n{:#?}", kubectl.activities())
        }))
    });
}

/// Whether an activity has ended, well or not.
pub(crate) fn is_over(activity: &Activity) -> bool {
    ["Succeeded", "Failed", "Refused", "Interrupted", "Canceled", "Expired"]
        .contains(&activity.phase.as_str())
}

/// What dpkg did with a package on a machine, as `ACTION VERSION`, in order; `configure` included.
#[track_caller]
pub(crate) fn done_with(machine: &Machine, package: &str) -> Vec<String> {
    let all = machine.dpkg_actions().into_iter().filter(|done| done.package == package);
    // dpkg writes a configuration's version as what was there before.
    all.map(|done| format!("{} {}", done.action, done.to.or(done.from).unwrap_or_default()).trim().to_owned())
        .collect()
}

/// A condition of an object.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    all.and_then(|all| all.iter().find(|condition| condition["type"] == kind)).unwrap_or(&Value::Null)
}

/// Waits until an object's condition has that status and reason, and returns the object.
#[track_caller]
pub(crate) fn becomes(kubectl: &Kubectl, object: &[&str], kind: &str, status: &str, reason: &str) -> Value {
    until_or_say(PATIENCE, &format!("{object:?} to have {kind}={status} ({reason})"), || {
        let seen = kubectl.json(&[&["get"], object].concat());
        let found = condition(&seen, kind);
        if found["status"] == status && found["reason"] == reason {
            Ok(seen)
        } else {
            Err(format!("it is {seen:#}"))
        }
    })
}

/// An instant of a JSON field.
#[track_caller]
pub(crate) fn time(object: &Value, pointer: &str) -> Timestamp {
    let text = object.pointer(pointer).and_then(Value::as_str);
    let text = text.unwrap_or_else(|| panic!("no time at {pointer} of {object:#}"));
    text.parse().unwrap_or_else(|error| panic!("{text} at {pointer} is no time: {error}"))
}

/// A whole second, so many from now.
pub(crate) fn from_now(seconds: i64) -> Timestamp {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(at.as_second()).expect("now is far from the end of time")
}

/// A baseline for every machine, with more lines of its spec.
pub(crate) fn baseline(name: &str, packages: &str, more: &str) -> String {
    format!(
        "apiVersion: muster.dev/v1alpha1\nkind: PackageBaseline\nmetadata:\n  name: {name}\nspec:\n  \
         machineSelector: {{}}\n  packages: {packages}\n{}",
        indented(more)
    )
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("  {line}\n")).collect()
}
