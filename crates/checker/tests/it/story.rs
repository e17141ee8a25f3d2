//! Logs as short stories: `HH:MM[:SS] WHAT NAME …`, from Friday 2026-11-27 on (hours may go beyond 24).
//!
//! A machine is admitted, heard, and reports openssl 1 with 2 on offer; a baseline `fix` wants openssl >= 2; an activity
//! installs it. What a story needs otherwise it says in JSON, which is laid over that.

#![allow(clippy::unwrap_used, reason = "a story that cannot be read fails its test")]

use jiff::{SignedDuration, Timestamp};
use muster_checker::Checker;
use muster_checker::event::Event;
use serde_json::{Value, json};

/// The log of a story.
pub(crate) fn log(story: &str) -> Vec<Event> {
    let mut teller = Teller::default();
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        teller.tell(line);
    }
    teller.events
}

/// What the checker says of it: one line each, times and names only as far as they differ.
pub(crate) fn judged(story: &str) -> String {
    judged_late(story, 0)
}

/// Likewise for a log whose readers may be so many seconds late.
pub(crate) fn judged_late(story: &str, lag: i64) -> String {
    let mut checker = Checker::with_lag(SignedDuration::from_secs(lag));
    log(story).iter().for_each(|event| checker.feed(event));
    let lines: Vec<String> = checker.violations().iter().map(|found| format!("{found}\n")).collect();
    if lines.is_empty() { "= nothing\n".to_owned() } else { lines.concat() }
}

#[derive(Default)]
struct Teller {
    events: Vec<Event>,
    sequences: std::collections::BTreeMap<String, u64>,
    up: bool,
}

fn start() -> Timestamp {
    "2026-11-27T00:00:00Z".parse().unwrap()
}

fn clock(text: &str) -> Timestamp {
    let parts: Vec<i64> = text.split(':').map(|part| part.parse().unwrap()).collect();
    let seconds = parts[0] * 3600 + parts[1] * 60 + parts.get(2).copied().unwrap_or(0);
    start() + SignedDuration::from_secs(seconds)
}

fn overlay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                overlay(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

impl Teller {
    fn add(&mut self, at: Timestamp, name: &str, body: Value) {
        let line = json!({"time": format!("{at:.6}"), "event": {name: body}}).to_string();
        self.events.push(Event::parse(&line).unwrap_or_else(|error| panic!("{line}: {error:?}")));
    }

    fn tell(&mut self, line: &str) {
        let (at, rest) = line.split_once(' ').expect("a time and what happened");
        let at = clock(at);
        let (words, over) = match rest.find('{') {
            Some(brace) => (
                &rest[..brace],
                serde_json::from_str(&rest[brace..]).unwrap_or_else(|error| panic!("{line}: {error}")),
            ),
            None => (rest, json!({})),
        };
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut body = self.body(at, &words);
        for (_, body) in &mut body {
            if !matches!(words[0], "machine") || body.get("uid").is_some() {
                overlay(body, over.clone());
            }
        }
        for (name, body) in body {
            self.add(at, name, body);
        }
    }

    fn body(&mut self, at: Timestamp, words: &[&str]) -> Vec<(&'static str, Value)> {
        let name = words.get(1).copied().unwrap_or_default();
        let step = words.get(2).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let one = |event: &'static str, body: Value| vec![(event, body)];
        match words[0] {
            "machine" => self.machine(at, name, &words[2..]),
            "report" => one("Report", self.report(at, name, &words[2..])),
            "heard" => one("Heard", json!({"machine": name})),
            "silent" => one("Silent", json!({"machine": name, "lastHeard": format!("{at:.6}")})),
            "baseline" => one(
                "Baseline",
                json!({
                    "kind": "PackageBaseline", "name": name, "uid": format!("uid-{name}"), "selector": {},
                    "packages": [{"name": "openssl", "version": ">= 2"}],
                }),
            ),
            "released" => one("Released", released(at, name, &words[2..])),
            "window" => one(
                "Window",
                json!({
                    "name": name, "selector": {}, "action": "Allow", "schedule": "0 22 * * FRI", "duration": "6h",
                }),
            ),
            "freeze" => one("Window", json!({"name": name, "selector": {}, "action": "Deny"})),
            "budget" => one("Budget", json!({"name": name, "selector": {}, "maxUnavailable": 1})),
            "policy" => one("Policy", json!({})),
            "source" => one("Source", json!({"name": name, "applying": false})),
            "approval" => one(
                "Approval",
                json!({
                    "name": name, "baseline": {"kind": "PackageBaseline", "name": "fix"}, "action": "Approve",
                    "created": format!("{at:.6}"),
                }),
            ),
            "override" => one(
                "Override",
                json!({
                    "name": name, "items": [{"package": "openssl"}], "created": format!("{at:.6}"),
                    "until": format!("{:.6}", at + SignedDuration::from_hours(6)),
                }),
            ),
            "taken-back" => one("OverrideGone", json!({"name": name})),
            "kernel-baseline" => one(
                "Baseline",
                json!({
                    "kind": "KernelBaseline", "name": name, "uid": format!("uid-{name}"), "selector": {}, "priority": 5,
                    "packages": [{"name": "openssl", "version": ">= 2"}],
                }),
            ),
            "lead" => one("Leading", json!({"controller": name, "epoch": step})),
            "create" => {
                one("ActivityCreated", json!({"spec": spec(at, name, &words[2..]), "epoch": epoch(words)}))
            }
            "found" => one(
                "ActivityFound",
                json!({
                    "spec": spec(at, name, &[]), "uid": format!("uid-{name}"), "epoch": epoch(words),
                    "created": format!("{at:.6}"), "phase": words[2],
                }),
            ),
            "withdraw" => one("ActivityWithdrawn", json!({"name": name})),
            "adopt" => one("ActivityAdopted", json!({"name": name, "epoch": step})),
            "deliver" => one("ActivityDelivered", json!({"name": name})),
            "start" => one("StepStarted", json!({"name": name, "step": step})),
            "done" => one("StepCompleted", json!({"name": name, "step": step})),
            "verify" => one("ActivityVerifying", json!({"name": name})),
            "cancel" => one("CancelRequested", json!({"name": name})),
            "finish" => one(
                "ActivityFinished",
                match words.get(3) {
                    Some(outcome) => json!({"name": name, "phase": words[2], "outcome": outcome}),
                    None => json!({"name": name, "phase": words[2]}),
                },
            ),
            "delete" => one("ActivityDeleted", json!({"name": name})),
            "acts" | "acted" => one(
                "Acted",
                json!({
                    "machine": machine_of(name), "activity": name, "uid": format!("uid-{name}"), "step": step,
                    "done": words[0] == "acted",
                }),
            ),
            "boots" => one(
                "Booted",
                json!({
                    "machine": machine_of(name), "activity": name, "bootId": format!("{at}"),
                    "kernel": words.iter().find_map(|word| word.strip_prefix("kernel=")).unwrap_or("6.1"),
                }),
            ),
            "succeed" => vec![
                ("ActivityDelivered", json!({"name": name})),
                ("StepStarted", json!({"name": name, "step": 0})),
                ("StepCompleted", json!({"name": name, "step": 0})),
                ("ActivityFinished", json!({"name": name, "phase": "Succeeded"})),
            ],
            "fail" => vec![
                ("ActivityDelivered", json!({"name": name})),
                ("StepStarted", json!({"name": name, "step": 0})),
                (
                    "ActivityFinished",
                    json!({"name": name, "phase": "Failed", "outcome": words.get(2).unwrap_or(&"PackagesNotAsWanted")}),
                ),
            ],
            "refuse" => vec![
                ("ActivityDelivered", json!({"name": name})),
                ("ActivityFinished", json!({"name": name, "phase": "Refused", "outcome": "FetchError"})),
            ],
            "up" => one("GatewaysUp", json!({})),
            "down" => one("GatewaysDown", json!({})),
            "gone" => one("MachineGone", json!({"name": name})),
            "calm" => one("Calm", json!({})),
            "remark" => one("Remark", json!({"text": "the end"})),
            "unreadable" => one("Unreadable", json!({"resource": name, "why": "no such operator"})),
            "readable" => one("Readable", json!({"resource": name})),
            "clock" => one("ClockOff", json!({"controller": name, "off": true})),
            "decided" => one(
                "Decided",
                json!({
                    "machine": name, "verdict": words[2], "rule": words[3], "reason": words.get(4).unwrap_or(&""),
                }),
            ),
            other => panic!("{other}: what is that?"),
        }
    }

    fn machine(&mut self, at: Timestamp, name: &str, words: &[&str]) -> Vec<(&'static str, Value)> {
        let labels: serde_json::Map<String, Value> = words
            .iter()
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect();
        let machine = json!({
            "name": name, "uid": format!("m-{name}"), "labels": labels, "admitted": !words.contains(&"pending"),
        });
        let mut events = Vec::new();
        if !std::mem::replace(&mut self.up, true) {
            events.push(("GatewaysUp", json!({})));
        }
        events.push(("Machine", machine));
        if !words.contains(&"again") {
            events.push(("Heard", json!({"machine": name})));
            events.push(("Report", self.report(at, name, &["openssl=1"])));
        }
        events
    }

    /// `openssl=1`, `last=3`, `failed=nginx.service`, `held=openssl`.
    fn report(&mut self, at: Timestamp, name: &str, words: &[&str]) -> Value {
        let sequence = self.sequences.entry(name.to_owned()).or_insert(0);
        *sequence += 1;
        let (mut packages, mut last, mut units, mut reboot) = (Vec::new(), 0, Vec::new(), false);
        let mut capabilities = vec!["ExactSimulation", "Packages", "Reboot", "Journal"];
        let (mut kernel, mut next) = ("6.1", Value::Null);
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("last", number) => last = number.parse().unwrap(),
                ("failed", all) => units.extend(all.split(',').map(str::to_owned)),
                ("reboot", _) => reboot = true,
                ("selects", _) => capabilities.push("KernelSelection"),
                ("kernel", release) => kernel = release,
                ("next", release) => next = json!(release),
                ("held", package) => packages.push(json!({
                    "name": package, "architecture": "amd64", "installed": "1", "held": true,
                })),
                (package, version) => packages.push(json!({
                    "name": package, "architecture": "amd64", "installed": version, "candidate": "2",
                    "offers": [{"version": "2", "pin": 500}],
                })),
            }
        }
        json!({
            "machine": name, "session": 1, "sequence": *sequence, "received": format!("{at:.6}"),
            "architecture": "amd64", "capabilities": capabilities,
            "bootId": "b", "kernel": kernel, "nextBoot": next, "failedUnits": units, "lastActivity": last, "packages": packages,
            "rebootRequired": reboot,
        })
    }
}

fn machine_of(activity: &str) -> &str {
    activity.rsplit_once('-').unwrap().0
}

/// `openssl=2`: on record as released since then.
fn released(at: Timestamp, baseline: &str, words: &[&str]) -> Value {
    let items: Vec<Value> = words
        .iter()
        .filter_map(|word| word.split_once('='))
        .map(|(package, to)| {
            let key = json!({"name": package, "architecture": "amd64"});
            json!({"package": key, "to": to, "since": format!("{at:.6}")})
        })
        .collect();
    json!({
        "baseline": {"kind": "PackageBaseline", "name": baseline}, "items": items, "found": words.contains(&"found"),
    })
}

fn epoch(words: &[&str]) -> u64 {
    let named = words.iter().find_map(|word| word.strip_prefix("epoch="));
    named.map_or(0, |epoch| epoch.parse().unwrap())
}

/// `openssl=1..2` changes a package, `telnet=1..` removes it, `reboot` reboots, `charged=etcd` names a budget, `until=23:00` the expiry; `select=6.2`,
/// `into=6.2` and `default=6.2` try a kernel, boot it and make it the default; `for=web` serves that baseline instead of `fix`.
fn spec(at: Timestamp, name: &str, words: &[&str]) -> Value {
    let until = words.iter().find_map(|word| word.strip_prefix("until="));
    let served = words.iter().find_map(|word| word.strip_prefix("for=")).unwrap_or("fix");
    let fix = json!([{"kind": "PackageBaseline", "name": served}]);
    let mut requested = Vec::new();
    let (mut steps, mut budgets) = (Vec::new(), Vec::new());
    for word in words {
        match word.split_once('=') {
            Some(("charged", budget)) => budgets.push(budget.to_owned()),
            Some((package, change)) if change.contains("..") => {
                let (from, to) = change.split_once("..").unwrap();
                let version = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
                requested.push(json!({"name": package, "architecture": "amd64", "from": version(from), "to": version(to)}));
            }
            _ => {}
        }
    }
    if requested.is_empty() && !words.contains(&"only") {
        requested.push(json!({"name": "openssl", "architecture": "amd64", "from": "1", "to": "2"}));
    }
    if !requested.is_empty() {
        let action = json!({"InstallPackages": {"requested": requested}});
        steps.push(json!({"action": action, "baselines": fix, "timeout": "1h"}));
    }
    if words.contains(&"reboot") {
        steps.push(json!({"action": {"Reboot": {"kernel": null}}, "baselines": fix, "timeout": "30m"}));
    }
    for word in words {
        let action = match word.split_once('=') {
            Some(("select", release)) => json!({"SelectKernel": {"release": release}}),
            Some(("into", release)) => json!({"Reboot": {"kernel": release}}),
            Some(("default", release)) => json!({"SetDefaultKernel": {"release": release}}),
            _ => continue,
        };
        steps.push(json!({"action": action, "baselines": fix, "timeout": "30m"}));
    }
    json!({
        "name": name, "machineUid": format!("m-{}", machine_of(name)), "steps": steps, "budgets": budgets,
        "expiry": format!("{:.6}", until.map_or(at + SignedDuration::from_hours(1), clock)),
    })
}
