//! The report as Markdown, for a comment on a pull request.

use super::groups::{Group, Severity, count, groups};
use super::held::in_words as held_back;
use super::report::{Report, Totals};
use super::text::{numbers, title};

/// How long the comment may be, in bytes: forges take 65,536 characters at most.
pub(crate) const MAX_BYTES: usize = 60_000;

/// How long the description of one group may be, so that no single one takes all the room.
const MAX_GROUP_BYTES: usize = 6_000;

/// What the numbers at the end take at most.
const ROOM_FOR_NUMBERS: usize = 2_000;

/// How many machines of a group are named.
const NAMES_SHOWN: usize = 50;

/// The report; what does not fit is counted.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = heading(report);
    for problem in &report.problems {
        push(&mut text, &format!("- :x: {}\n", escape(&problem.to_string())), MAX_BYTES / 2);
    }
    if report.problems_total > 0 {
        text += &format!("\n{} problem(s) in all.\n", report.problems_total);
    }
    for line in report.held.iter().flat_map(held_back) {
        text += &format!(
            "{}{}  \n",
            if line.starts_with(' ') { "" } else { ":lock: " },
            escape(line.trim_start())
        );
    }
    let groups = groups(report);
    let (mut left_out, mut machines_left_out) = (0, 0);
    for group in &groups {
        if !push(&mut text, &of_group(group), MAX_BYTES - ROOM_FOR_NUMBERS) {
            left_out += 1;
            machines_left_out += group.machines.len();
        }
    }
    if left_out > 0 {
        text += &format!(
            "\n**{left_out} more kinds of change, on {}, do not fit here**: run `muster plan` with the same arguments.\n",
            count(machines_left_out)
        );
    }
    text += "\n";
    for line in numbers(report) {
        text += &format!("{}  \n", escape(&line));
    }
    text
}

fn heading(report: &Report) -> String {
    let Totals { machines, affected, .. } = &report.totals;
    let changed = report.machines.iter().filter(|machine| machine.change.is_some()).count();
    let verdict = match (report.problems_total, *affected) {
        (0, 0) if changed > 0 => format!("the same at another time, on {}", count(changed)),
        (0, 0) => "no machine is affected".to_owned(),
        (0, affected) => format!("{affected} of {} affected", count(*machines)),
        (1, _) => "1 problem".to_owned(),
        (problems, _) => format!("{problems} problems"),
    };
    format!("### Muster plan: {verdict}\n\n{}\n\n", escape(&title(report)))
}

fn of_group(group: &Group) -> String {
    let Group { severity, what, instead_of, machines, when } = group;
    let what = match what.as_slice() {
        [] => vec!["the same, at another time or for another reason".to_owned()],
        what => what.to_vec(),
    };
    let alarm = if *severity == Severity::Destructive { ":warning: " } else { "" };
    let mut text = format!("\n#### {alarm}{}\n\n", count(machines.len()));
    for line in &what {
        text += &format!("- {}\n", escape(line));
    }
    for line in instead_of {
        text += &format!("- before: {}\n", escape(line));
    }
    for (when, machines) in when {
        text += &format!("- {machines} {}\n", escape(when));
    }
    if text.len() > MAX_GROUP_BYTES {
        text.truncate(text.floor_char_boundary(MAX_GROUP_BYTES));
        text += "…\n- and more, which `muster plan` shows\n";
    }
    let names: Vec<String> = machines.iter().take(NAMES_SHOWN).map(|name| escape(name)).collect();
    let more = machines.len().saturating_sub(NAMES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    text + &format!("\n<details><summary>which</summary>{}{more}</details>\n", names.join(", "))
}

/// Adds a block if it fits whole.
fn push(text: &mut String, block: &str, limit: usize) -> bool {
    let fits = text.len() + block.len() <= limit;
    if fits {
        *text += block;
    }
    fits
}

/// As plain text: what machines and apt say is data, never markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '@' => escaped += "&#64;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\n' | '\r' => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::report::{Answer, MachineReport, PackageChange, StepReport};
    use super::*;

    /// A machine that installs these packages.
    fn machine(name: String, packages: impl Iterator<Item = String>) -> MachineReport {
        let requested = packages.map(|name| PackageChange {
            name,
            architecture: "amd64".to_owned(),
            from: None,
            to: Some("1.0-1".to_owned()),
        });
        let step = StepReport {
            type_: "InstallPackages",
            baselines: Vec::new(),
            requested: requested.collect(),
            dependencies: Vec::new(),
            hold: Vec::new(),
            unhold: Vec::new(),
            kernel: None,
            command_line: muster_model::CommandLine::default(),
        };
        let answer = Answer { verdict: "Start", steps: vec![step], ..Answer::nothing() };
        MachineReport { namespace: "default".to_owned(), name, change: None, forecast: None, answer }
    }

    fn report(machines: Vec<MachineReport>) -> Report {
        let affected = machines.len();
        Report {
            revision: "main@sha1:1".to_owned(),
            base: None,
            at: jiff::Timestamp::UNIX_EPOCH,
            namespace: "default".to_owned(),
            totals: Totals::of(&machines, affected),
            machines,
            cancels: Vec::new(),
            limit: None,
            held: None,
            problems: Vec::new(),
            problems_total: 0,
            next_time: None,
            forecast: None,
        }
    }

    #[test]
    fn what_does_not_fit_into_a_comment_is_counted_and_the_numbers_are_there_all_the_same() {
        let one =
            |number: usize| machine(format!("m{number:04}"), std::iter::once(format!("package-{number:04}")));
        let text = markdown(&report((0..3000).map(one).collect()));
        assert!(text.len() <= MAX_BYTES, "{} bytes", text.len());
        assert!(
            text.len() > MAX_BYTES - ROOM_FOR_NUMBERS - MAX_GROUP_BYTES,
            "{} bytes: room is left",
            text.len()
        );
        let shown = text.matches("#### 1 machine\n").count();
        let left_out = 3000 - shown;
        assert!(shown > 100, "{shown}");
        let counted = format!(
            "**{left_out} more kinds of change, on {left_out} machines, do not fit here**: run `muster plan`"
        );
        assert!(text.contains(&counted), "{}", &text[text.len() - 400..]);
        assert!(text.contains("3000 machines: 0 converged, 3000 start now"), "{}", &text[text.len() - 400..]);
    }

    #[test]
    fn one_huge_change_leaves_room_for_the_others_and_names_some_of_its_machines() {
        let packages = || (0..2000).map(|number| format!("package-{number:04}"));
        let mut machines: Vec<MachineReport> =
            (0..60).map(|number| machine(format!("big-{number:02}"), packages())).collect();
        machines.push(machine("small".to_owned(), std::iter::once("nginx".to_owned())));
        let text = markdown(&report(machines));
        assert!(text.len() < 2 * MAX_GROUP_BYTES, "{} bytes", text.len());
        assert!(text.contains("…\n- and more, which `muster plan` shows\n"));
        assert!(text.contains("big-00, big-01,") && text.contains("big-49 and 10 more</details>"), "{text}");
        assert!(text.contains("nginx 1.0-1 installed"), "the other change is shown");
        assert!(!text.contains("do not fit here"));
    }

    #[test]
    fn what_machines_say_is_no_markup() {
        let text = markdown(&report(vec![machine("a".to_owned(), std::iter::once("<b>@all*x*".to_owned()))]));
        assert!(text.contains("&lt;b&gt;&#64;all\\*x\\*"), "{text}");
    }
}
