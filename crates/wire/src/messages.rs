//! The messages, and their limits.

use muster_model::{
    ActivityName, CommandLine, Digest, HealthCheck, Inventory, KernelChoice, OutcomeReason, PackageKey,
    Phase, Proposal, ProposalKey, Report, Transaction, Uid, WantedSet,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A poll without news is answered after so many seconds: short enough that a dead connection is noticed within a
/// minute and a half, long enough that 100,000 machines are some 2,000 requests a second.
pub const POLL_SECONDS: u64 = 50;

/// The largest JSON body: a report with every list at its limit is some 100 KiB.
pub const BODY_LIMIT: usize = 1 << 20;

/// The largest compressed inventory: 10,000 packages are some 300 KiB.
pub const INVENTORY_LIMIT: usize = 1 << 20;

/// The largest inventory once decompressed.
pub const INVENTORY_PLAIN_LIMIT: usize = 16 << 20;

/// Asks to become a machine of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrollRequest {
    /// The enrolment token, as `muster enroll` printed it.
    pub token: String,
    /// A certificate signing request in PEM; its subject is ignored.
    pub csr: String,
    /// The machine's host name: the FleetMachine's name is made from it.
    pub hostname: String,
    /// `/etc/machine-id`: a second enrolment of the same machine with the same key is the same machine.
    pub machine_id: String,
    /// The agent can only observe (`--observe`).
    #[serde(default)]
    pub observe: bool,
}

/// Asks for a new certificate for the same identity; sent with the present one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenewRequest {
    /// A certificate signing request in PEM.
    pub csr: String,
}

/// A machine's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollResponse {
    /// The namespace.
    pub namespace: String,
    /// The FleetMachine's name.
    pub name: String,
    /// The identity: a UUID, the certificate's common name.
    pub identity: String,
    /// The certificate and the gateway's intermediate, in PEM.
    pub certificate: String,
    /// The fleet's root, in PEM: its SHA-256 is what the agent pinned.
    pub ca: String,
    /// When to renew: seconds from now.
    pub renew_after_seconds: u64,
    /// Whether the machine is admitted at once, or waits for a person.
    pub admitted: bool,
}

/// A report, or a heartbeat that confirms the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportRequest {
    /// The session that the gateway opened; 0: open one (rule M4).
    pub session: u64,
    /// One above that of the report before in this session.
    pub sequence: u64,
    /// Digest of the report.
    pub digest: Digest,
    /// The report; absent when the gateway has that digest already (digest first, rule M2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<Report>>,
    /// The machine's clock, in microseconds since 1970, for the skew condition (rule M3).
    pub clock_micros: i64,
}

/// What the gateway makes of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportResponse {
    /// The session to use from now on.
    pub session: u64,
    /// The gateway wants the whole report.
    pub send_report: bool,
    /// The gateway wants the inventory of that digest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_inventory: Option<Digest>,
}

/// Waits for news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PollRequest {
    /// The session.
    pub session: u64,
    /// The report that is in force, which the poll confirms as a heartbeat does (rule M1).
    pub digest: Digest,
    /// The wanted set that the agent has; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Digest>,
    /// The activity that the agent has or had last; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<ActivityName>,
    /// The agent knows that this activity is to be canceled.
    #[serde(default)]
    pub cancel_seen: bool,
}

/// The news.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollResponse {
    /// A wanted set that differs from the agent's, to report on and to simulate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<WantedSet>,
    /// An activity that the agent does not have: offered again until it is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Box<WireActivity>>,
    /// The agent's activity is to be canceled (rule A5).
    #[serde(default)]
    pub cancel: bool,
    /// The session is not the gateway's any more: report anew.
    #[serde(default)]
    pub report_again: bool,
}

/// An activity as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireActivity {
    /// `<machine>-<n>`.
    pub name: ActivityName,
    /// Its uid: an agent carries out each uid once.
    pub uid: Uid,
    /// What to do, in order.
    pub steps: Vec<WireStep>,
    /// What must be healthy afterwards, and for how long.
    pub health: HealthCheck,
    /// No step may start later than so many seconds after this was received (rule A4).
    pub expires_in_seconds: u64,
    /// A cancel was asked for.
    #[serde(default)]
    pub cancel: bool,
}

/// One step as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireStep {
    /// What to do.
    #[serde(flatten)]
    pub action: WireAction,
    /// It fails as `TimedOut` after so many seconds.
    pub timeout_seconds: u64,
}

/// What a step does; an agent that does not know a type refuses the activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum WireAction {
    /// One apt transaction.
    #[serde(rename = "InstallPackages")]
    InstallPackages {
        /// The exact changes.
        transaction: Transaction,
    },
    /// One apt transaction that only removes.
    #[serde(rename = "RemovePackages")]
    RemovePackages {
        /// The exact changes.
        transaction: Transaction,
    },
    /// Sets and lifts holds.
    #[serde(rename = "HoldPackages")]
    HoldPackages {
        /// To hold.
        hold: BTreeSet<PackageKey>,
        /// To let go.
        unhold: BTreeSet<PackageKey>,
    },
    /// `dpkg --configure -a`.
    #[serde(rename = "RepairPackages")]
    RepairPackages,
    /// Makes a kernel the boot loader's choice for one boot.
    #[serde(rename = "SelectKernel")]
    SelectKernel {
        /// Which.
        choice: KernelChoice,
    },
    /// Reboot.
    #[serde(rename = "Reboot")]
    Reboot {
        /// The release that is to run afterwards.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kernel: Option<String>,
        /// What the command line must and must not have afterwards.
        #[serde(default, skip_serializing_if = "CommandLine::is_empty")]
        command_line: CommandLine,
    },
    /// Makes the kernel that runs the default.
    #[serde(rename = "SetDefaultKernel")]
    SetDefaultKernel {
        /// Which it is to be.
        choice: KernelChoice,
    },
}

/// What the machine's apt said of a wanted set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProposalRequest {
    /// The session.
    pub session: u64,
    /// What was simulated, on what.
    pub key: ProposalKey,
    /// The result.
    pub proposal: Proposal,
}

/// How far an activity is: the whole of it each time, so that a lost message costs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Progress {
    /// The session.
    pub session: u64,
    /// The activity's uid.
    pub uid: Uid,
    /// `Running`, `Verifying`, or an end.
    pub phase: Phase,
    /// By step, as far as begun.
    pub steps: Vec<StepProgress>,
    /// Why it ended, unless it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeReason>,
    /// For people, at most 2 KiB: what was wanted, what was observed, the last lines of output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How far a step is, in microseconds before the message was sent, counted on the machine's boot clock (rule A4);
/// a step that began before the present boot counts from the boot's own clock reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepProgress {
    /// It began so long ago.
    pub started_micros_ago: u64,
    /// It ended so long ago; absent: it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_micros_ago: Option<u64>,
}

/// The gateway's answer to progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressResponse {
    /// A cancel was asked for: stop between steps.
    pub cancel: bool,
}

/// Asks for the fresh word before a reboot (rule W6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MayStartRequest {
    /// The session.
    pub session: u64,
    /// The activity's uid.
    pub uid: Uid,
    /// The step, from 0.
    pub step: u32,
}

/// The fresh word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MayStartResponse {
    /// Whether the step may start now.
    pub allowed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeReason>,
}

/// What an answer that is no success says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// A reason from a closed set, in CamelCase.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// An inventory as it is compressed for the wire and for its resource: zstd, level 3, of its canonical JSON.
#[must_use]
pub fn compress(inventory: &Inventory) -> Vec<u8> {
    let json = serde_json::to_vec(inventory).expect("an inventory is plain data, which JSON can always hold");
    zstd::bulk::compress(&json, 3).expect("compressing into a growing buffer cannot fail")
}
