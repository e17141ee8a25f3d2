//! Reports: digest first (rule M2), ordered by sequence within a session that the gateway opens (rule M4).
//!
//! A gateway needs no memory of the sessions that it opened: the next one is always one above that on record, and the
//! API's own rule refuses whatever is older than what is there. So any gateway can take any report.

use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use muster_crds::{FleetMachine, ReportedStatus, names};
use muster_model::{BootId, Report};
use muster_wire::{ReportRequest, ReportResponse};
use serde_json::json;

use crate::conditions;
use crate::fleet::{Fleet, Record, Reported, Seen, reported};
use crate::gateway::Core;
use crate::refusal::Refusal;

/// A machine's clock may be off by so much before the report says so (rule M3), and is right again below the second.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
const SKEW_OVER: SignedDuration = SignedDuration::from_secs(20);

/// Field manager of the condition that quarantines: apart, since applying a report must not take the condition away.
const MANAGER_QUARANTINE: &str = "muster-gateway-quarantine";

/// What a report is to be answered with.
enum Judgement {
    /// It is the one on record.
    Heartbeat,
    /// It follows the one on record.
    Next,
    /// It does not: the machine is to begin anew.
    NewSession(u64),
}

impl Core {
    /// A machine reports, or confirms its report.
    pub(crate) async fn report(
        &self,
        fleet: &Fleet,
        record: &Record,
        request: ReportRequest,
    ) -> Result<ReportResponse, Refusal> {
        let _turn = record.turn.lock().await;
        let seen = record.admit()?;
        let now = (self.clock)();
        let skew = skew(request.clock_micros, now, &seen);
        match judge(&request, &seen, skew.is_some()) {
            Judgement::NewSession(session) => {
                return Ok(ReportResponse { session, send_report: true, send_inventory: None });
            }
            Judgement::Heartbeat => {
                self.metrics.heartbeats.inc();
                fleet.presence.heard(&record.name, now);
                return Ok(ReportResponse {
                    session: request.session,
                    send_report: false,
                    send_inventory: None,
                });
            }
            Judgement::Next => {}
        }
        let session = request.session;
        let Some(report) = &request.report else {
            return Ok(ReportResponse { session, send_report: true, send_inventory: None });
        };
        if report.digest() != request.digest {
            return Err(Refusal::bad_request("the report is another one than its digest says"));
        }
        if seen.reported.as_ref().is_none_or(|reported| reported.session < session) {
            self.note_boot(fleet, record, &report.boot.id, now).await?;
        }
        if !self.has_inventory(fleet, &report.inventory).await? {
            return Ok(ReportResponse {
                session,
                send_report: true,
                send_inventory: Some(report.inventory.clone()),
            });
        }
        if let Some(session) = self.write_report(fleet, record, &request, report, skew, now).await? {
            return Ok(ReportResponse { session, send_report: true, send_inventory: None });
        }
        fleet.presence.heard(&record.name, now);
        Ok(ReportResponse { session, send_report: false, send_inventory: None })
    }

    /// Writes it; `Some(session)` when a newer one was there, after which only that session can report.
    async fn write_report(
        &self,
        fleet: &Fleet,
        record: &Record,
        request: &ReportRequest,
        report: &Report,
        skew: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<u64>, Refusal> {
        let body = muster_model::Reported {
            session: request.session,
            sequence: request.sequence,
            digest: request.digest.clone(),
            time: now,
            report: report.clone(),
            facts: report.facts(),
        };
        let patch = json!({
            "apiVersion": "muster.dev/v1alpha1",
            "kind": "FleetMachine",
            "metadata": {"name": record.name, "uid": record.uid},
            "status": {"reported": ReportedStatus::from_model(&body, skew)},
        });
        let params = PatchParams::apply(names::MANAGER_GATEWAY).force();
        match fleet.apis.machines.patch_status(record.name.as_str(), &params, &Patch::Apply(&patch)).await {
            Ok(machine) => {
                self.metrics.reports.inc();
                record.note_report(Reported {
                    session: request.session,
                    sequence: request.sequence,
                    digest: request.digest.clone(),
                    inventory: report.inventory.clone(),
                    skewed: skew.is_some(),
                });
                fleet.machine_is(&machine);
                Ok(None)
            }
            Err(kube::Error::Api(status)) if status.is_invalid() => {
                // Refused by the rule that sessions never go back, or because something in it is too long.
                let machine = self.fresh_machine(fleet, record).await?;
                let on_record =
                    machine.status.as_ref().and_then(|status| status.reported.as_ref()).and_then(reported);
                match on_record {
                    Some(known) if (known.session, known.sequence) > (request.session, request.sequence) => {
                        fleet.machine_is(&machine);
                        Ok(Some(known.session + 1))
                    }
                    Some(_) | None => {
                        Err(Refusal::bad_request(format!("the report is refused: {}", status.message)))
                    }
                }
            }
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                // Gone, or made anew with another uid: then it is not this machine's any more.
                let machine = self.fresh_machine(fleet, record).await?;
                fleet.machine_is(&machine);
                Err(Refusal::unavailable("the report", &kube::Error::Api(status)))
            }
            Err(error) => Err(Refusal::unavailable("the report", &error)),
        }
    }

    /// The FleetMachine as it is now; refused if it is not this machine's any more.
    pub(crate) async fn fresh_machine(
        &self,
        fleet: &Fleet,
        record: &Record,
    ) -> Result<FleetMachine, Refusal> {
        let machine = fleet.apis.machines.get_opt(record.name.as_str()).await;
        match machine.map_err(|error| Refusal::unavailable("the request", &error))? {
            Some(machine)
                if machine.metadata.uid.as_deref() == Some(&record.uid)
                    && machine.spec.identity.as_ref() == Some(&record.identity)
                    && !machine.spec.revoked =>
            {
                Ok(machine)
            }
            Some(_) | None => Err(Refusal::revoked()),
        }
    }

    /// Remembers which boots open sessions. A boot never comes back after another, so A, B, A, B are two machines that
    /// use one identity: both are shut out.
    async fn note_boot(
        &self,
        fleet: &Fleet,
        record: &Record,
        boot: &BootId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        {
            let mut seen = record.lock();
            if seen.boots.back() != Some(boot) {
                seen.boots.push_back(boot.clone());
            }
            while seen.boots.len() > 4 {
                seen.boots.pop_front();
            }
            if !is_duplicate(seen.boots.make_contiguous()) {
                return Ok(());
            }
        }
        let message = "two machines use this identity by turns; delete the FleetMachine and enrol both anew";
        let condition = conditions::new(
            names::reason::DUPLICATE_IDENTITY,
            "True",
            names::reason::DUPLICATE_IDENTITY,
            message,
            now,
        );
        let patch = json!({
            "apiVersion": "muster.dev/v1alpha1",
            "kind": "FleetMachine",
            "metadata": {"name": record.name, "uid": record.uid},
            "status": {"conditions": [condition]},
        });
        let params = PatchParams::apply(MANAGER_QUARANTINE).force();
        let written =
            fleet.apis.machines.patch_status(record.name.as_str(), &params, &Patch::Apply(&patch)).await;
        let machine = written.map_err(|error| Refusal::unavailable("the quarantine", &error))?;
        tracing::warn!(machine = %record.name, "two machines use one identity: both are shut out");
        fleet.machine_is(&machine);
        record.admit().map(drop)
    }
}

fn is_duplicate(boots: &[BootId]) -> bool {
    matches!(boots, [a, b, c, d] if a == c && b == d && a != b)
}

/// How far a report is from the one on record (rule M4).
fn judge(request: &ReportRequest, seen: &Seen, is_skewed: bool) -> Judgement {
    let Some(known) = &seen.reported else {
        return if request.session == 1 { Judgement::Next } else { Judgement::NewSession(1) };
    };
    let next = known.session.saturating_add(1);
    if request.session == known.session {
        let same = request.digest == known.digest;
        if same && is_skewed == known.skewed {
            return Judgement::Heartbeat;
        }
        return if request.sequence > known.sequence { Judgement::Next } else { Judgement::NewSession(next) };
    }
    if request.session == next { Judgement::Next } else { Judgement::NewSession(next) }
}

/// How many seconds the machine's clock is ahead, if too many.
fn skew(clock_micros: i64, now: Timestamp, seen: &Seen) -> Option<i64> {
    let limit = if seen.reported.as_ref().is_some_and(|reported| reported.skewed) { SKEW_OVER } else { SKEW };
    let micros = clock_micros.saturating_sub(now.as_microsecond());
    let is_off = micros.unsigned_abs() > u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    is_off.then_some(micros / 1_000_000)
}

#[cfg(test)]
mod tests {
    use muster_model::Digest;

    use super::*;

    fn seen(session: u64, sequence: u64, digest: &[u8]) -> Seen {
        let digest = Digest::of(digest);
        let reported = Reported { session, sequence, inventory: digest.clone(), digest, skewed: false };
        Seen { reported: Some(reported), ..Seen::default() }
    }

    fn answer(session: u64, sequence: u64, digest: &[u8], seen: &Seen) -> String {
        let request =
            ReportRequest { session, sequence, digest: Digest::of(digest), report: None, clock_micros: 0 };
        match judge(&request, seen, false) {
            Judgement::Heartbeat => "heartbeat".to_owned(),
            Judgement::Next => "next".to_owned(),
            Judgement::NewSession(session) => format!("session {session}"),
        }
    }

    // rule: M2, M4
    #[test]
    fn reports_are_taken_in_the_order_of_session_and_sequence_and_unchanged_ones_cost_nothing() {
        let known = seen(5, 7, b"a");
        for (session, sequence, digest, expected) in [
            (5, 7, b"a", "heartbeat"),
            (5, 8, b"a", "heartbeat"),
            (5, 8, b"b", "next"),
            (5, 7, b"b", "session 6"),
            (4, 99, b"b", "session 6"),
            (0, 0, b"a", "session 6"),
            (6, 1, b"a", "next"),
            (9, 1, b"a", "session 6"),
        ] {
            assert_eq!(answer(session, sequence, digest, &known), expected, "{session} {sequence}");
        }
        assert_eq!(answer(0, 0, b"a", &Seen::default()), "session 1");
        assert_eq!(answer(1, 1, b"a", &Seen::default()), "next");
    }

    // rule: M3
    #[test]
    fn a_clock_that_is_off_is_told_without_flapping() {
        let now = Timestamp::from_second(1_000).unwrap();
        let mut known = seen(1, 1, b"a");
        assert_eq!(skew(1_030_000_000, now, &known), None);
        assert_eq!(skew(1_031_000_000, now, &known), Some(31));
        known.reported.as_mut().unwrap().skewed = true;
        assert_eq!(skew(975_000_000, now, &known), Some(-25));
        assert_eq!(skew(1_019_000_000, now, &known), None);
    }

    #[test]
    fn only_boots_that_come_back_by_turns_are_two_machines() {
        let boots = |ids: [&str; 4]| ids.map(BootId::from);
        assert!(is_duplicate(&boots(["a", "b", "a", "b"])));
        assert!(!is_duplicate(&boots(["a", "b", "c", "d"])), "a machine that boots often");
        assert!(!is_duplicate(&boots(["a", "b", "a", "c"])), "a machine set back to a snapshot once");
    }
}
