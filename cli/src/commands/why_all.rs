//! `muster why --all`: the controller's own planning report, an answer for every machine (promise P3).
//!
//! Machines with the same answer are one group, what people can act on first.

use std::collections::BTreeMap;

use serde::Serialize;

use super::clears::{self, Said};
use crate::arguments::Output;
use crate::connect::Connection;
use crate::printer::Printer;
use crate::view::{MachineState, list_machines};

/// How many machines of a group are named; the JSON names all.
const NAMES_SHOWN: usize = 5;

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    namespace: String,
    machines: usize,
    groups: Vec<Group>,
}

/// Machines with the same answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Group {
    verdict: String,
    rule: String,
    reason: String,
    /// Of the first of them; the others' may name other packages or numbers.
    message: String,
    blocker: Option<String>,
    clears: String,
    machines: Vec<String>,
}

/// Prints it.
pub(super) async fn why_all(
    connection: &Connection,
    output: Output,
    printer: Printer,
) -> Result<(), kube::Error> {
    let Connection { client, namespace } = connection;
    let machines = list_machines(client.clone(), namespace).await?;
    let answer = answer(namespace, &machines);
    match output {
        Output::Json => printer.pretty_json(&answer),
        Output::Text => printer.line(text(&answer)),
    }
    Ok(())
}

fn answer(namespace: &str, machines: &BTreeMap<String, MachineState>) -> Answer {
    let mut groups: BTreeMap<(u8, String, String, Option<String>, String), Group> = BTreeMap::new();
    for (name, machine) in machines {
        let blocker = machine.blocker.clone().filter(|_| machine.activity.is_none());
        let clears = clears::clears(Said {
            machine: name,
            verdict: &machine.verdict,
            reason: &machine.reason,
            until: machine.until,
            blocker: None,
            activity: None,
            baseline: None,
        });
        let key = (
            urgency(&machine.verdict),
            machine.verdict.clone(),
            machine.reason.clone(),
            blocker.clone(),
            clears.clone(),
        );
        let group = groups.entry(key).or_insert_with(|| Group {
            verdict: machine.verdict.clone(),
            rule: machine.rule.clone(),
            reason: machine.reason.clone(),
            message: machine.message.clone(),
            blocker,
            clears,
            machines: Vec::new(),
        });
        group.machines.push(name.clone());
    }
    Answer {
        namespace: namespace.to_owned(),
        machines: machines.len(),
        groups: groups.into_values().collect(),
    }
}

/// What somebody has to do something about comes first, what is as wanted last.
fn urgency(verdict: &str) -> u8 {
    match verdict {
        "Blocked" => 0,
        "Unknown" => 1,
        "Waiting" => 2,
        "Active" | "Start" => 3,
        "Unmanaged" => 4,
        "Converged" => 5,
        _ => 1,
    }
}

fn text(answer: &Answer) -> String {
    let Answer { namespace, machines, groups } = answer;
    let mut lines = vec![format!("{machines} machines of namespace {namespace}")];
    for Group { verdict, rule, reason, message, blocker, clears, machines } in groups {
        let reason = if reason.is_empty() { String::new() } else { format!("({reason})") };
        let rule = if rule.is_empty() { String::new() } else { format!(", rule {rule}") };
        let blocker = blocker.as_ref().map_or(String::new(), |blocker| format!(" {blocker}"));
        lines.push(format!("{} {verdict}{reason}{blocker}{rule}", machines.len()));
        if !message.is_empty() && verdict != "Converged" {
            lines.push(format!("    {message}"));
        }
        if verdict != "Converged" {
            lines.push(format!("    clears {clears}"));
        }
        let names = machines.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        let more = machines.len().saturating_sub(NAMES_SHOWN);
        lines.push(if more > 0 { format!("    {names} and {more} more") } else { format!("    {names}") });
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn machine(verdict: &str, rule: &str, reason: &str, message: &str) -> MachineState {
        MachineState {
            verdict: verdict.to_owned(),
            rule: rule.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..MachineState::default()
        }
    }

    #[test]
    fn every_machine_is_in_one_group_and_what_people_must_do_comes_first() {
        let closed = MachineState {
            blocker: Some("MaintenanceWindow/night".to_owned()),
            until: Some("2026-11-23T22:00:00Z".parse().unwrap()),
            ..machine("Waiting", "W1", "WindowClosed", "window night opens at 2026-11-23T22:00:00Z")
        };
        let machines = [
            ("a", machine("Converged", "V2", "AsWanted", "everything is as wanted")),
            ("b", closed.clone()),
            ("c", closed),
            ("d", machine("Blocked", "V6", "Held", "somebody else holds openssl:amd64")),
        ];
        let machines = machines.map(|(name, machine)| (name.to_owned(), machine)).into();
        expect![[r#"
            4 machines of namespace default
            1 Blocked(Held), rule V6
                somebody else holds openssl:amd64
                clears when somebody lifts the hold
                d
            2 Waiting(WindowClosed) MaintenanceWindow/night, rule W1
                window night opens at 2026-11-23T22:00:00Z
                clears at 2026-11-23T22:00:00Z
                b, c
            1 Converged(AsWanted), rule V2
                a"#]]
        .assert_eq(&text(&answer("default", &machines)));
    }
}
