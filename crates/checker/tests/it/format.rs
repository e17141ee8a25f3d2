//! The format of the event log: every event can be written and read, is documented, and unknown things are refused.

use muster_checker::event::{Event, Header, What};

/// One line of each event, as the documentation has them.
const EXAMPLES: &str = include_str!("../testdata/every-event.jsonl");

fn name(what: &What) -> &'static str {
    match what {
        What::Anew {} => "Anew",
        What::Baseline(_) => "Baseline",
        What::BaselineGone { .. } => "BaselineGone",
        What::Window(_) => "Window",
        What::WindowGone { .. } => "WindowGone",
        What::Budget(_) => "Budget",
        What::BudgetGone { .. } => "BudgetGone",
        What::Policy(_) => "Policy",
        What::PolicyGone {} => "PolicyGone",
        What::Unreadable { .. } => "Unreadable",
        What::Readable { .. } => "Readable",
        What::Source(_) => "Source",
        What::SourceGone { .. } => "SourceGone",
        What::Approval(_) => "Approval",
        What::ApprovalGone { .. } => "ApprovalGone",
        What::Override(_) => "Override",
        What::OverrideGone { .. } => "OverrideGone",
        What::Machine(_) => "Machine",
        What::MachineGone { .. } => "MachineGone",
        What::Report(_) => "Report",
        What::Heard { .. } => "Heard",
        What::Silent { .. } => "Silent",
        What::GatewaysUp {} => "GatewaysUp",
        What::GatewaysDown {} => "GatewaysDown",
        What::Leading { .. } => "Leading",
        What::LeaseLost { .. } => "LeaseLost",
        What::ClockOff { .. } => "ClockOff",
        What::ActivityFound(_) => "ActivityFound",
        What::ActivityCreated(_) => "ActivityCreated",
        What::ActivityWithdrawn { .. } => "ActivityWithdrawn",
        What::ActivityAdopted { .. } => "ActivityAdopted",
        What::ActivityDelivered { .. } => "ActivityDelivered",
        What::StepStarted(_) => "StepStarted",
        What::StepCompleted(_) => "StepCompleted",
        What::ActivityVerifying { .. } => "ActivityVerifying",
        What::CancelRequested { .. } => "CancelRequested",
        What::ActivityFinished(_) => "ActivityFinished",
        What::LateResult { .. } => "LateResult",
        What::ActivityDeleted { .. } => "ActivityDeleted",
        What::Acted(_) => "Acted",
        What::Booted(_) => "Booted",
        What::Decided(_) => "Decided",
        What::Fault { .. } => "Fault",
        What::Calm {} => "Calm",
        What::Released(_) => "Released",
        What::Remark { .. } => "Remark",
    }
}

/// How many arms `name` has.
const KINDS: usize = 46;

#[test]
fn every_event_is_written_as_it_was_read_and_stands_in_the_documentation() {
    let docs = include_str!("../../../../docs/events.md");
    let mut lines = EXAMPLES.lines();
    let header = lines.next().unwrap();
    assert_eq!(Header::parse(header).unwrap().to_line(), header);
    let mut seen = std::collections::BTreeSet::new();
    for line in lines {
        let event = Event::parse(line).unwrap_or_else(|error| panic!("{line}: {error:?}"));
        assert_eq!(event.to_line(), line);
        let name = name(&event.event);
        assert!(docs.contains(&format!("`{name}`")), "docs/events.md does not explain {name}");
        assert!(line.contains(&format!("\"{name}\"")), "{name}");
        seen.insert(name);
    }
    assert_eq!(seen.len(), KINDS, "an example of each: {seen:?}");
}

#[test]
fn what_a_reader_does_not_know_is_refused() {
    let at = r#""time":"2026-11-27T22:00:00.000000Z""#;
    for line in [
        format!(r#"{{{at},"event":{{"Exploded":{{}}}}}}"#),
        format!(r#"{{{at},"event":{{"Heard":{{"machine":"web-0","loudly":true}}}}}}"#),
        format!(r#"{{{at},"event":{{"Heard":{{"machine":"web-0"}}}},"by":"me"}}"#),
        format!(r#"{{{at},"event":{{"Heard":{{"machine":"Not a name"}}}}}}"#),
        r#"{"time":"yesterday","event":{"Calm":{}}}"#.to_owned(),
    ] {
        assert!(Event::parse(&line).is_err(), "{line}");
    }
    assert!(Header::parse(EXAMPLES.lines().nth(1).unwrap()).is_err());
    let header = EXAMPLES.lines().next().unwrap();
    assert!(Header::parse(&header.replace(r#""version":1"#, r#""version":2"#)).is_err());
    assert!(Header::parse(&header.replace("muster.dev/events", "muster.dev/state")).is_err());
}
