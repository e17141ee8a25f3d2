//! The answer of `muster why` for people: verdict, reason with its numbers, when it clears, what to do.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::why::{Answer, BlockerAnswer, RequirementAnswer};
use crate::printer::table;

/// The text; every line but the first is indented.
pub(super) fn text(answer: &Answer, now: Timestamp) -> String {
    let Answer { namespace: _, name, verdict, rule, reason, message, .. } = answer;
    let mut lines = vec![format!("{name}: {verdict}{}", of_reason(reason, rule))];
    if !message.is_empty() {
        lines.push(format!("  {message}"));
    }
    if verdict != "Converged" {
        let clears = answer
            .until_time
            .map_or_else(|| answer.clears.clone(), |until| format!("at {}", when(until, now)));
        lines.push(format!("  clears {clears}"));
    }
    if let Some(blocker) = &answer.blocker {
        lines.push(format!("  in the way: {}", of_blocker(blocker, now)));
    }
    if let Some(activity) = &answer.activity {
        let steps: Vec<String> = activity
            .steps
            .iter()
            .map(|step| {
                let state = match (step.start_time, step.completion_time) {
                    (None, _) => "to come".to_owned(),
                    (Some(start), None) => format!("since {}", ago(start, now)),
                    (Some(_), Some(end)) => format!("done {} ago", ago(end, now)),
                };
                format!("{} {state}", step.type_)
            })
            .collect();
        lines.push(format!("  activity {} is {}: {}", activity.name, activity.phase, steps.join(", ")));
    }
    lines.extend(requirements(answer));
    lines.extend(answer.waits.in_words().into_iter().map(|line| format!("  {line}")));
    if let Some(turn) = &answer.forecast {
        lines.push(format!("  {}", turn.in_words(|at| when(at, now))));
    }
    if let Some(why) = &answer.no_forecast {
        lines.push(format!("  no forecast: {why}"));
    }
    if let Some(time) = answer.report_time {
        let heard = answer.reporting.as_deref().map_or(String::new(), |reason| format!(", {reason}"));
        lines.push(format!("  last report {} ago{heard}", ago(time, now)));
    }
    if let Some(remedy) = &answer.remedy {
        lines.push("  to do:".to_owned());
        lines.extend(remedy.lines().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

fn of_reason(reason: &str, rule: &str) -> String {
    match (reason, rule) {
        ("", "") => String::new(),
        (reason, "") => format!("({reason})"),
        ("", rule) => format!(", rule {rule}"),
        (reason, rule) => format!("({reason}), rule {rule}"),
    }
}

fn requirements(answer: &Answer) -> Vec<String> {
    let not_converged = usize::try_from(answer.requirements_not_converged).unwrap_or(usize::MAX);
    if answer.requirements.is_empty() {
        let all = answer.requirements_total;
        return if all > 0 && not_converged == 0 {
            vec![format!("  all {all} requirements are met")]
        } else {
            Vec::new()
        };
    }
    let mut lines = vec![format!("  not as wanted, {not_converged} of {}:", answer.requirements_total)];
    let rows: Vec<Vec<String>> = answer.requirements.iter().map(row).collect();
    lines.push(table(&rows, 4));
    if not_converged > answer.requirements.len() {
        lines.push(format!("    and {} more", not_converged - answer.requirements.len()));
    }
    lines
}

fn row(answer: &RequirementAnswer) -> Vec<String> {
    let requirement = &answer.requirement;
    let installed = requirement.installed.as_deref().unwrap_or("absent");
    let target = requirement.target.as_deref().unwrap_or("?");
    vec![
        requirement.resource.clone(),
        format!("{installed} → {target}"),
        format!("{}{}", requirement.verdict, of_reason(&requirement.reason, &requirement.rule)),
        format!("{}/{}", requirement.baseline.kind.as_str(), requirement.baseline.name),
        requirement.message.clone(),
    ]
}

/// The numbers of the kind, from its own status.
fn of_blocker(blocker: &BlockerAnswer, now: Timestamp) -> String {
    let BlockerAnswer { kind, name, status } = blocker;
    // It says all that it has to say in the verdict, and has no status.
    if kind == "RolloutApproval" {
        return format!("{kind}/{name}");
    }
    let Some(status) = status else { return format!("{kind}/{name}, which is gone or has no status yet") };
    let number = |key: &str| status[key].as_u64().unwrap_or(0);
    let time = |key: &str| -> Option<Timestamp> { status[key].as_str()?.parse().ok() };
    let numbers = match kind.as_str() {
        "MaintenanceWindow" => {
            let state = if status["open"] == Value::Bool(true) { "open" } else { "closed" };
            let opens = time("nextOpenTime").map(|at| format!(", opens next {}", when(at, now)));
            let closes = time("nextCloseTime").map(|at| format!(", closes next {}", when(at, now)));
            let machines = number("machines");
            format!("{state}{}{}, {machines} machines", opens.unwrap_or_default(), closes.unwrap_or_default())
        }
        "DisruptionBudget" => format!(
            "{} of at most {} unavailable of {} machines, {} in flight",
            number("unavailable"),
            number("maxUnavailable"),
            number("machines"),
            number("inFlight")
        ),
        "PackageBaseline" | "KernelBaseline" => format!(
            "{} of {} machines converged, {} unavailable of at most {}, {} active, {} blocked, {} unknown, {} absent",
            number("converged"),
            number("selected"),
            number("unavailable"),
            number("maxUnavailable"),
            number("active"),
            number("blocked"),
            number("unknown"),
            number("absent")
        ),
        "BaselineRollout" => {
            let wave = status["wave"].as_str().map_or(String::new(), |wave| format!(", in wave {wave}"));
            format!(
                "{} of {} items done, {} released, {} barred{wave}",
                number("itemsDone"),
                number("itemsTotal"),
                number("itemsReleased"),
                number("itemsBarred")
            )
        }
        "Activity" => status["phase"].as_str().unwrap_or("Pending").to_owned(),
        _ => return format!("{kind}/{name}"),
    };
    format!("{kind}/{name}: {numbers}")
}

/// An instant with how far away it is.
fn when(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("{at} (in {})", length(at.duration_since(now))) } else { at.to_string() }
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    length(now.duration_since(at).max(SignedDuration::ZERO))
}

/// A length in its two largest units.
pub(super) fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (days, hours, minutes, seconds) =
        (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, _, _) => format!("{hours}h{minutes}m"),
        (_, _, _) => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use muster_crds::{RequirementBaseline, RequirementStatus};
    use muster_model::BaselineKind;
    use serde_json::json;

    use super::*;
    use crate::foresee::Turn;
    use crate::waits::{Wait, WaitedFor, Waits};

    fn waiting() -> Answer {
        let requirement = RequirementStatus {
            baseline: RequirementBaseline { kind: BaselineKind::PackageBaseline, name: "fix".to_owned() },
            resource: "openssl:amd64".to_owned(),
            verdict: "Waiting".to_owned(),
            rule: "W1".to_owned(),
            reason: "WindowClosed".to_owned(),
            message: "window night opens at 22:00".to_owned(),
            installed: Some("3.0.14-1".to_owned()),
            target: Some("3.0.15-1".to_owned()),
            until_time: None,
        };
        Answer {
            namespace: "default".to_owned(),
            name: "web-01".to_owned(),
            verdict: "Waiting".to_owned(),
            rule: "W1".to_owned(),
            reason: "WindowClosed".to_owned(),
            message: "window night opens at 22:00".to_owned(),
            until_time: Some("2026-11-23T22:00:00Z".parse().unwrap()),
            clears: "at 2026-11-23T22:00:00Z".to_owned(),
            blocker: Some(BlockerAnswer {
                kind: "MaintenanceWindow".to_owned(),
                name: "night".to_owned(),
                status: Some(json!({"open": false, "nextOpenTime": "2026-11-23T22:00:00Z", "machines": 3})),
            }),
            requirements: vec![RequirementAnswer { requirement, clears: String::new() }],
            requirements_not_converged: 22,
            requirements_total: 30,
            activity: None,
            revision: None,
            report_time: Some("2026-11-23T11:59:00Z".parse().unwrap()),
            reporting: Some("Heard".to_owned()),
            remedy: Some("do this\nand that".to_owned()),
            forecast: Some(Turn {
                fate: "Converges",
                start_time: Some("2026-11-23T22:00:00Z".parse().unwrap()),
                window: Some("night".to_owned()),
                converged_time: Some("2026-11-23T22:10:00Z".parse().unwrap()),
                slow_converged_time: Some("2026-11-23T22:30:00Z".parse().unwrap()),
                why_not: None,
                until_time: "2027-01-22T12:00:00Z".parse().unwrap(),
            }),
            waits: Waits::default(),
            no_forecast: None,
        }
    }

    #[test]
    fn who_waits_for_a_wave_is_told_whom_that_waits_for_and_why() {
        let machine = |name: &str| WaitedFor {
            name: name.to_owned(),
            verdict: "Waiting",
            rule: "W1",
            reason: "WindowClosed",
            message: "window night opens at 22:00".to_owned(),
        };
        let wait = Wait {
            baseline: "PackageBaseline/fix".to_owned(),
            resource: "openssl:amd64".to_owned(),
            target: "3.0.15-1".to_owned(),
            wave: "canary".to_owned(),
            zone: Some("b".to_owned()),
            machines: vec![machine("web-02"), machine("web-03")],
            machines_total: 9,
            circle: vec!["PackageBaseline/fix".to_owned(), "PackageBaseline/other".to_owned()],
        };
        expect![[r#"
            waits for 9 machines of wave canary in zone b of PackageBaseline/fix to have openssl:amd64 3.0.15-1:
              web-02: Waiting(WindowClosed), rule W1: window night opens at 22:00
              web-03: Waiting(WindowClosed), rule W1: window night opens at 22:00
              and 7 more
              the rollouts of PackageBaseline/fix and PackageBaseline/other wait for each other's machines, so none goes on: let them have the same first waves, or give one a higher priority
            and for 3 items more"#]]
        .assert_eq(&Waits { waits: vec![wait], waits_total: 4 }.in_words().join("\n"));
    }

    #[test]
    fn a_closed_window_says_when_it_opens_and_what_it_holds_back() {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        expect![[r#"
            web-01: Waiting(WindowClosed), rule W1
              window night opens at 22:00
              clears at 2026-11-23T22:00:00Z (in 10h0m)
              in the way: MaintenanceWindow/night: closed, opens next 2026-11-23T22:00:00Z (in 10h0m), 3 machines
              not as wanted, 22 of 30:
                openssl:amd64  3.0.14-1 → 3.0.15-1  Waiting(WindowClosed), rule W1  PackageBaseline/fix  window night opens at 22:00
                and 21 more
              forecast: its turn is at 2026-11-23T22:00:00Z (in 10h0m) in night, as wanted at 2026-11-23T22:10:00Z (in 10h10m), or 2026-11-23T22:30:00Z (in 10h30m) if steps are slow
              last report 1m0s ago, Heard
              to do:
                do this
                and that"#]]
        .assert_eq(&text(&waiting(), now));
    }

    #[test]
    fn a_converged_machine_is_two_lines() {
        let answer = Answer {
            verdict: "Converged".to_owned(),
            rule: "V2".to_owned(),
            reason: "AsWanted".to_owned(),
            message: String::new(),
            blocker: None,
            requirements: Vec::new(),
            requirements_not_converged: 0,
            report_time: None,
            remedy: None,
            forecast: None,
            ..waiting()
        };
        expect![[r#"
            web-01: Converged(AsWanted), rule V2
              all 30 requirements are met"#]]
        .assert_eq(&text(&answer, Timestamp::UNIX_EPOCH));
    }
}
