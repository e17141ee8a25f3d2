//! MaintenanceWindow, DisruptionBudget, FleetPolicy.

use jiff::SignedDuration;
use muster_model::{
    Budget, BudgetLimit, BudgetSummary, Estimates, GoDuration, Policy, Recurrence, Schedule, When, Window,
    WindowSummary, Zone,
};

use super::{Reader, chain, count, duration, provenance, time};
use crate::{
    DisruptionBudget, DisruptionBudgetSpec, DisruptionBudgetStatus, EstimatesStatus, FieldError, FleetPolicy,
    FleetPolicySpec, MaintenanceWindow, MaintenanceWindowSpec, MaintenanceWindowStatus,
};

impl MaintenanceWindow {
    /// The window as the planner knows it. A schedule, zone, duration or cutoff that cannot be read makes a window whose
    /// `when` says why, since that closes its machines (rule W7).
    ///
    /// # Errors
    /// What else is wrong; an unreadable selector says rule W7.
    pub fn to_model(&self) -> Result<Window, Vec<FieldError>> {
        let MaintenanceWindowSpec { machine_selector, action, covers, overridable, .. } = &self.spec;
        let mut reader = Reader::default();
        let (name, uid) = (reader.name(&self.metadata), reader.uid(&self.metadata));
        let selector = reader.selector(machine_selector);
        let readable = self.spec.when().and_then(|when| Ok((when, self.spec.cutoff()?)));
        let (when, cutoff) = match readable {
            Ok((when, cutoff)) => (Ok(when), cutoff),
            Err(error) => (Err(error.to_string()), SignedDuration::ZERO),
        };
        reader.finish(|| {
            Some(Window {
                name: name?,
                uid: uid?,
                generation: self.metadata.generation.unwrap_or_default(),
                selector: selector?,
                action: *action,
                when,
                cutoff,
                covers: covers.as_ref().map(|covers| covers.iter().copied().collect()),
                overridable: *overridable,
                provenance: provenance(&self.metadata),
            })
        })
    }

    /// Everything that is wrong with it, what [`to_model`](Self::to_model) turns into a closed window included.
    #[must_use]
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = self.to_model().err().unwrap_or_default();
        problems.extend(self.spec.when().err());
        problems.extend(self.spec.cutoff().err());
        problems
    }
}

impl MaintenanceWindowSpec {
    fn when(&self) -> Result<When, FieldError> {
        let refuse =
            |field: &str, message: String| FieldError { field: format!("spec.{field}"), rule: "W7", message };
        let Self { schedule, from, to, offset_days, time_zone, duration, .. } = self;
        match (schedule, from, to, duration) {
            (Some(schedule), None, None, Some(duration)) => {
                let schedule =
                    Schedule::parse(schedule).map_err(|error| refuse("schedule", chain(&error)))?;
                let zone = match time_zone {
                    None => Zone::utc(),
                    Some(name) => Zone::parse(name).map_err(|error| refuse("timeZone", chain(&error)))?,
                };
                let duration =
                    GoDuration::parse(duration).map_err(|error| refuse("duration", chain(&error)))?;
                Recurrence::new(schedule, offset_days.unwrap_or_default(), zone, duration.length())
                    .map(When::Recurring)
                    .map_err(|error| refuse("duration", chain(&error)))
            }
            (None, Some(from), Some(to), None) => {
                When::once(from.0, to.0).map_err(|error| refuse("to", chain(&error)))
            }
            _ => Err(refuse("schedule", "write either schedule and duration, or from and to".to_owned())),
        }
    }

    fn cutoff(&self) -> Result<SignedDuration, FieldError> {
        GoDuration::parse(&self.cutoff).map(GoDuration::length).map_err(|error| FieldError {
            field: "spec.cutoff".to_owned(),
            rule: "W7",
            message: chain(&error),
        })
    }
}

impl MaintenanceWindowStatus {
    /// The state; conditions are the controller's to fold.
    #[must_use]
    pub fn from_model(summary: &WindowSummary, observed_generation: i64) -> Self {
        let WindowSummary { open, next_open, next_close, machines, capped: _ } = summary;
        Self {
            observed_generation: Some(observed_generation),
            open: *open,
            next_open_time: next_open.map(time),
            next_close_time: next_close.map(time),
            machines: count(*machines),
            conditions: Vec::new(),
        }
    }
}

impl DisruptionBudget {
    /// The budget as the planner knows it.
    ///
    /// # Errors
    /// Everything that is wrong with it; an unreadable selector says rule W7.
    pub fn to_model(&self) -> Result<Budget, Vec<FieldError>> {
        let DisruptionBudgetSpec { machine_selector, max_unavailable, min_available, absent } = &self.spec;
        let mut reader = Reader::default();
        let (name, uid) = (reader.name(&self.metadata), reader.uid(&self.metadata));
        let selector = reader.selector(machine_selector);
        let limit = match (max_unavailable, min_available) {
            (Some(share), None) => {
                reader.share("spec.maxUnavailable", share).map(BudgetLimit::MaxUnavailable)
            }
            (None, Some(share)) => reader.share("spec.minAvailable", share).map(BudgetLimit::MinAvailable),
            (Some(_), Some(_)) | (None, None) => {
                reader.refuse("spec", "B1", "write exactly one of maxUnavailable and minAvailable");
                None
            }
        };
        reader.finish(|| {
            Some(Budget {
                name: name?,
                uid: uid?,
                generation: self.metadata.generation.unwrap_or_default(),
                selector: selector?,
                limit: limit?,
                absent: *absent,
                provenance: provenance(&self.metadata),
            })
        })
    }
}

impl DisruptionBudgetStatus {
    /// The numbers; conditions are the controller's to fold.
    #[must_use]
    pub fn from_model(summary: &BudgetSummary, observed_generation: i64) -> Self {
        let BudgetSummary { machines, max_unavailable, unavailable, in_flight } = summary;
        Self {
            observed_generation: Some(observed_generation),
            machines: count(*machines),
            max_unavailable: count(*max_unavailable),
            unavailable: count(*unavailable),
            in_flight: count(*in_flight),
            conditions: Vec::new(),
        }
    }
}

impl FleetPolicy {
    /// The policy as the planner knows it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn to_model(&self) -> Result<Policy, Vec<FieldError>> {
        let FleetPolicySpec {
            suspend,
            windows,
            unreachable_after,
            absent_after,
            freshness,
            history_limit,
            ttl,
            activity_expiry,
            blast_radius,
        } = &self.spec;
        let mut reader = Reader::default();
        let unreachable_after = reader.duration("spec.unreachableAfter", unreachable_after);
        let absent_after = reader.duration("spec.absentAfter", absent_after);
        if let (Some(unreachable), Some(absent)) = (unreachable_after, absent_after)
            && absent < unreachable
        {
            reader.refuse(
                "spec.absentAfter",
                "B4",
                "a machine is unreachable before it is absent: make absentAfter the longer",
            );
        }
        let freshness = reader.duration("spec.freshness", freshness);
        let ttl = reader.duration("spec.ttl", ttl);
        let activity_expiry = reader.duration("spec.activityExpiry", activity_expiry);
        let blast_radius = match blast_radius {
            None => Some(None),
            Some(share) => reader.share("spec.blastRadius", share).map(Some),
        };
        let measured = self.status.as_ref().and_then(|status| status.estimates.as_ref());
        let estimates = match measured {
            None => Some(Estimates::default()),
            Some(measured) => reader.estimates(measured),
        };
        let medians = match self.status.as_ref().and_then(|status| status.medians.as_ref()) {
            None => Some(Estimates::default()),
            Some(measured) => reader.estimates(measured),
        };
        reader.finish(|| {
            Some(Policy {
                suspend: *suspend,
                windows: *windows,
                unreachable_after: unreachable_after?,
                absent_after: absent_after?,
                freshness: freshness?,
                history_limit: *history_limit,
                ttl: ttl?,
                activity_expiry: activity_expiry?,
                blast_radius: blast_radius?,
                estimates: estimates?,
                medians: medians?,
            })
        })
    }
}

impl Reader {
    fn estimates(&mut self, measured: &EstimatesStatus) -> Option<Estimates> {
        let EstimatesStatus { packages, kernel, reboot } = measured;
        let packages = self.duration("status.estimates.packages", packages);
        let kernel = self.duration("status.estimates.kernel", kernel);
        let reboot = self.duration("status.estimates.reboot", reboot);
        Some(Estimates { packages: packages?, kernel: kernel?, reboot: reboot? })
    }
}

impl EstimatesStatus {
    /// What was measured, as durations.
    #[must_use]
    pub fn from_model(estimates: &Estimates) -> Self {
        let Estimates { packages, kernel, reboot } = estimates;
        Self { packages: duration(*packages), kernel: duration(*kernel), reboot: duration(*reboot) }
    }
}
