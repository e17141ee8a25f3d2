//! What the reasons to wait say: each its rule, its word, its sentence, what stands in the way, and what it waits for.

use super::{names, of, of_baseline, of_rollout, zone_named};
use crate::{Blocker, Instant, Suspender, WaitingOn};

impl WaitingOn {
    pub(super) fn rule(&self) -> &'static str {
        match self {
            Self::Inventory { .. } => "V2",
            Self::Proposal => "A7",
            Self::WindowClosed { .. } | Self::Frozen { .. } => "W1",
            Self::WindowTooShort { .. } | Self::CutoffReached { .. } => "W2",
            Self::WindowUnreadable { .. } => "W7",
            Self::Budget { .. } | Self::MaxUnavailable { .. } => "B2",
            Self::Retry { .. } => "A6",
            Self::Backoff { .. } => "A2",
            Self::Silent { .. }
            | Self::Suspended { by: Suspender::FleetPolicy | Suspender::FleetMachine } => "A4",
            Self::Activity { .. } => "A1",
            Self::BootLimit { .. } => "K4",
            Self::ManualReboot { .. } => "K2",
            Self::Applying => "G2",
            Self::Report => "V4",
            Self::Suspended { by: Suspender::Clock } => "A3",
            Self::Wave { .. } | Self::Soaking { .. } => "O2",
            Self::Zone { .. } => "O6",
            Self::Approval { .. } => "O7",
            Self::PausedByPerson { .. } => "O3",
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Inventory { .. } => "Inventory",
            Self::Proposal => "Proposal",
            Self::WindowClosed { .. } => "WindowClosed",
            Self::Frozen { .. } => "Frozen",
            Self::WindowTooShort { .. } => "WindowTooShort",
            Self::CutoffReached { .. } => "CutoffReached",
            Self::WindowUnreadable { .. } => "WindowUnreadable",
            Self::Budget { .. } => "Budget",
            Self::MaxUnavailable { .. } => "MaxUnavailable",
            Self::Retry { .. } => "Retry",
            Self::Backoff { .. } => "Backoff",
            Self::Silent { .. } => "Silent",
            Self::Activity { .. } => "OtherActivity",
            Self::BootLimit { .. } => "BootLimit",
            Self::ManualReboot { .. } => "ManualReboot",
            Self::Applying => "Applying",
            Self::Report => "Report",
            Self::Suspended { by: Suspender::FleetPolicy | Suspender::FleetMachine } => "Suspended",
            Self::Suspended { by: Suspender::Clock } => "ClockOff",
            Self::Wave { .. } => "Wave",
            Self::Soaking { .. } => "Soaking",
            Self::Zone { .. } => "Zone",
            Self::Approval { .. } => "Approval",
            Self::PausedByPerson { .. } => "PausedByPerson",
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Inventory { packages } => {
                format!("the machine was asked what is on offer for {}", names(packages))
            }
            Self::Proposal => "the machine's apt simulates the change".to_owned(),
            Self::WindowClosed { window: Some(window), until: Some(until) } => {
                format!("window {window} opens at {until}")
            }
            Self::WindowClosed { window: Some(window), until: None } => {
                format!("window {window} opens next, but with no time for the change")
            }
            Self::WindowClosed { window: None, .. } => "no window opens for the machine".to_owned(),
            Self::Frozen { window, .. } => format!("freeze {window} is on"),
            Self::WindowTooShort { window, closes, needed_seconds, .. } => {
                let by = window.as_ref().map_or(String::new(), |window| format!(" by {window}"));
                format!("the time until {closes}{by} is too short, the change needs {needed_seconds}s")
            }
            Self::CutoffReached { window, .. } => format!("the cutoff of window {window} is reached"),
            Self::WindowUnreadable { window } => {
                format!("window {window} cannot be read, which closes its machines")
            }
            Self::Budget { budget, unavailable, max_unavailable } => {
                format!("budget {budget}: {unavailable} of at most {max_unavailable} unavailable")
            }
            Self::MaxUnavailable { baseline, unavailable, max_unavailable } => {
                format!("{baseline}: {unavailable} of at most {max_unavailable} unavailable")
            }
            Self::Retry { attempts, .. } => format!("{attempts} failed attempt(s); another comes"),
            Self::Backoff { reason, count, .. } => {
                format!("not carried out {count} time(s) in a row, last {}", reason.as_str())
            }
            Self::Silent { last_heard } => format!("the machine is silent since {last_heard}"),
            Self::Activity { activity } => format!("{activity} is first"),
            Self::BootLimit { boots, .. } => format!("{boots} boots within 24 hours are the most"),
            Self::ManualReboot { kernel } => {
                format!("{kernel} is selected for the next boot, and no baseline reboots the machine for it")
            }
            Self::Applying => "a revision is being applied".to_owned(),
            Self::Report => "a report from after the last activity is awaited".to_owned(),
            Self::Suspended { by: Suspender::FleetPolicy } => {
                "the fleet policy suspends every start".to_owned()
            }
            Self::Suspended { by: Suspender::FleetMachine } => "the machine is suspended".to_owned(),
            Self::Suspended { by: Suspender::Clock } => {
                "the controller's clock is off by more than 30s".to_owned()
            }
            Self::Wave { baseline, wave, done, wanted } => {
                format!("wave {wave} of {baseline} is first: {done} of {wanted} machine(s) have it")
            }
            Self::Soaking { baseline, wave, .. } => {
                format!("wave {wave} of {baseline} has it, and is watched for a while")
            }
            Self::Zone { baseline, zone, done, wanted, .. } => {
                format!("{} of {baseline} is first: {done} of {wanted} machine(s) have it", zone_named(zone))
            }
            Self::Approval { baseline, wave } => {
                format!("wave {wave} of {baseline} asks for somebody's approval of it")
            }
            Self::PausedByPerson { approval, by, .. } => format!("{by} paused it with {approval}"),
        }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::WindowClosed { until, .. }
            | Self::Frozen { until, .. }
            | Self::WindowTooShort { until, .. }
            | Self::CutoffReached { until, .. } => *until,
            Self::Retry { until, .. }
            | Self::Backoff { until, .. }
            | Self::BootLimit { until, .. }
            | Self::Soaking { until, .. } => Some(*until),
            Self::Zone { until, .. } => *until,
            Self::Wave { .. }
            | Self::Approval { .. }
            | Self::PausedByPerson { .. }
            | Self::Inventory { .. }
            | Self::Proposal
            | Self::WindowUnreadable { .. }
            | Self::Budget { .. }
            | Self::MaxUnavailable { .. }
            | Self::Silent { .. }
            | Self::Activity { .. }
            | Self::ManualReboot { .. }
            | Self::Applying
            | Self::Report
            | Self::Suspended { .. } => None,
        }
    }

    pub(super) fn blocker(&self) -> Option<Blocker> {
        match self {
            Self::WindowClosed { window, .. } | Self::WindowTooShort { window, .. } => {
                window.as_ref().map(|window| of("MaintenanceWindow", window))
            }
            Self::Frozen { window, .. }
            | Self::CutoffReached { window, .. }
            | Self::WindowUnreadable { window } => Some(of("MaintenanceWindow", window)),
            Self::Budget { budget, .. } => Some(of("DisruptionBudget", budget)),
            Self::MaxUnavailable { baseline, .. } => Some(of_baseline(baseline)),
            Self::Activity { activity } => Some(of("Activity", activity)),
            Self::Suspended { by: Suspender::FleetPolicy } => {
                Some(Blocker { kind: "FleetPolicy", name: "default".into() })
            }
            Self::Wave { baseline, .. }
            | Self::Soaking { baseline, .. }
            | Self::Zone { baseline, .. }
            | Self::Approval { baseline, .. } => Some(of_rollout(baseline)),
            Self::PausedByPerson { approval, .. } => Some(of("RolloutApproval", approval)),
            Self::Inventory { .. }
            | Self::Proposal
            | Self::Retry { .. }
            | Self::Backoff { .. }
            | Self::Silent { .. }
            | Self::BootLimit { .. }
            | Self::ManualReboot { .. }
            | Self::Applying
            | Self::Report
            | Self::Suspended { by: Suspender::FleetMachine | Suspender::Clock } => None,
        }
    }

    /// The event that clears it, where no instant does.
    pub(super) fn event(&self) -> String {
        match self {
            Self::Inventory { .. } | Self::Report => "with the machine's next report".to_owned(),
            Self::Proposal => "when the machine has simulated it".to_owned(),
            Self::WindowClosed { .. }
            | Self::Frozen { .. }
            | Self::WindowTooShort { .. }
            | Self::CutoffReached { .. } => "never, as the windows are; change them".to_owned(),
            Self::WindowUnreadable { window } => format!("when window {window} is mended"),
            Self::Budget { .. } | Self::MaxUnavailable { .. } => {
                "when another machine is available again".to_owned()
            }
            Self::Silent { .. } => "when the machine is heard again".to_owned(),
            Self::Activity { activity } => format!("when {activity} ends"),
            Self::ManualReboot { .. } => "when somebody reboots the machine".to_owned(),
            Self::Applying => "when the revision is applied".to_owned(),
            Self::Suspended { by: Suspender::FleetPolicy } => {
                "when the fleet policy's suspend is taken back".to_owned()
            }
            Self::Suspended { by: Suspender::FleetMachine } => {
                "when the machine's suspend is taken back".to_owned()
            }
            Self::Suspended { by: Suspender::Clock } => "when the controller's clock is right".to_owned(),
            Self::Retry { until, .. }
            | Self::Backoff { until, .. }
            | Self::BootLimit { until, .. }
            | Self::Soaking { until, .. } => format!("at {until}"),
            Self::Wave { wave, .. } => format!("when wave {wave} has passed it"),
            Self::Zone { zone, .. } => format!("when {} has passed it", zone_named(zone)),
            Self::Approval { baseline, .. } => format!("with `muster approve {}`", baseline.name),
            Self::PausedByPerson { baseline, .. } => format!("with `muster resume {}`", baseline.name),
        }
    }
}
