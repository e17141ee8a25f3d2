//! apt's simulation: what a set of exact targets would do, without doing any of it.
//!
//! The machine's own settings decide about recommended packages. Downgrades and changes of held packages are let
//! through *here*, so that the proposal shows them and the planner can say which rule forbids them (V5, V6).

use std::collections::BTreeMap;

use muster_model::{Architecture, Change, DebianVersion, PackageKey, Proposal, WantedItem};

use crate::dpkg::{self, Packages};
use crate::host::Host;
use crate::tools::{Invocation, Output, ToolError, tail};

/// Options of every call that installs or removes: the same in the simulation and in earnest, so that both decide alike.
pub(crate) const DECIDING: [&str; 4] = ["-y", "-q", "--allow-downgrades", "--allow-change-held-packages"];

/// How long apt may think.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

/// The longest refusal that is passed on, in bytes.
const REFUSAL_LIMIT: usize = 2048;

/// apt's names of the targets: `name:arch=version`, `name:arch-` (rule V4).
pub(crate) fn targets<'a>(
    items: impl Iterator<Item = (&'a PackageKey, Option<&'a DebianVersion>)>,
) -> Vec<String> {
    items
        .map(|(package, version)| match version {
            Some(version) => format!("{package}={version}"),
            None => format!("{package}-"),
        })
        .collect()
}

/// The answer for a wanted set. What is to be absent and is, is left out: apt may not even know it.
pub(crate) async fn propose(
    host: &Host,
    installed: &Packages,
    native: &Architecture,
    items: &[WantedItem],
) -> Result<Proposal, ToolError> {
    let items = items.iter().filter(|item| item.version.is_some() || installed.contains_key(&item.package));
    let targets = targets(items.map(|item| (&item.package, item.version.as_ref())));
    if targets.is_empty() {
        return Ok(Proposal::Transaction { changes: Vec::new() });
    }
    Ok(match simulate(host, native, &targets).await? {
        Simulated::Changes(changes) => Proposal::Transaction { changes },
        Simulated::Refused(output) => Proposal::Refused { message: refusal(&output) },
    })
}

/// What apt said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Simulated {
    /// Every change, sorted by package.
    Changes(Vec<Change>),
    /// It would not.
    Refused(Output),
}

/// Simulates `apt-get install TARGET…`.
pub(crate) async fn simulate(
    host: &Host,
    native: &Architecture,
    targets: &[String],
) -> Result<Simulated, ToolError> {
    let options = ["-s", "-o", "Debug::NoLocking=1", "-o", "APT::Get::Show-User-Simulation-Note=false"];
    let invocation = Invocation::reading("apt-get", &options)
        .with(DECIDING.iter().map(ToString::to_string))
        .with(["install".to_owned(), "--".to_owned()])
        .with(targets.iter().cloned())
        .within(PATIENCE);
    let output = host.tools.run(invocation).await?;
    if !output.is_success() {
        return Ok(Simulated::Refused(output));
    }
    Ok(parse(&output.stdout, native).map_or(Simulated::Refused(output), Simulated::Changes))
}

/// Reads the `Inst` and `Remv` lines; `None` where one of them cannot be read.
fn parse(text: &str, native: &Architecture) -> Option<Vec<Change>> {
    let mut changes: BTreeMap<PackageKey, Change> = BTreeMap::new();
    for line in text.lines() {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let change = match verb {
            "Inst" => parse_install(rest, native)?,
            "Remv" | "Purg" => parse_removal(rest, native)?,
            _ => continue,
        };
        if change.from == change.to {
            continue;
        }
        // A package that is removed and installed again in one run is one change.
        match changes.get_mut(&change.package) {
            Some(known) => known.to = change.to,
            None => {
                changes.insert(change.package.clone(), change);
            }
        }
    }
    Some(changes.into_values().collect())
}

/// `openssl [3.0.19-1] (3.0.22-1 Debian-Security:12/oldstable-security [amd64]) …`
fn parse_install(rest: &str, native: &Architecture) -> Option<Change> {
    let (name, rest) = rest.split_once(' ')?;
    let from = bracketed(rest);
    let inside = rest.split_once('(')?.1.split_once(')')?.0;
    let to = DebianVersion::parse(inside.split(' ').next()?).ok()?;
    let from = from.map(DebianVersion::parse).transpose().ok()?;
    Some(Change { package: dpkg::parse_key(name, native)?, from, to: Some(to) })
}

/// `less [590-2.1]`
fn parse_removal(rest: &str, native: &Architecture) -> Option<Change> {
    let (name, rest) = rest.split_once(' ')?;
    let from = DebianVersion::parse(bracketed(rest)?).ok()?;
    Some(Change { package: dpkg::parse_key(name, native)?, from: Some(from), to: None })
}

fn bracketed(rest: &str) -> Option<&str> {
    Some(rest.strip_prefix('[')?.split_once(']')?.0)
}

/// apt's own words, with the unmet dependencies that it lists on stdout.
pub(crate) fn refusal(output: &Output) -> String {
    let reasons = output.stdout.lines().skip_while(|line| !line.contains("unmet dependencies:")).skip(1);
    let reasons: Vec<&str> = reasons.take_while(|line| line.starts_with(' ')).map(str::trim).collect();
    let words = dpkg::words(output);
    let words = if words.is_empty() { "apt-get gave no reason".to_owned() } else { words };
    tail(&[words, reasons.join("\n")].join("\n"), REFUSAL_LIMIT)
}

/// Whether a refusal means that a version is not on offer any more (rule V4).
pub(crate) fn is_version_gone(output: &Output) -> bool {
    output.stderr.lines().any(|line| {
        (line.starts_with("E: Version '") && line.ends_with(" was not found"))
            || line.starts_with("E: Unable to locate package ")
            || line.ends_with(" has no installation candidate")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::expect;

    use super::*;
    use crate::dpkg::tests::{amd64, change, key};
    use crate::tools::fake::FakeTools;

    fn shown(changes: &[Change]) -> String {
        let version =
            |version: &Option<DebianVersion>| version.as_ref().map_or("-".to_owned(), ToString::to_string);
        changes
            .iter()
            .map(|c| format!("= {} {} > {}\n", c.package, version(&c.from), version(&c.to)))
            .collect()
    }

    // rule: A7
    #[test]
    fn apts_recorded_simulation_is_read_with_everything_that_comes_along() {
        let changes = parse(include_str!("../tests/data/simulate-mixed.txt"), &amd64()).unwrap();
        expect![[r"
            = less:amd64 590-2.1~deb12u2 > -
            = libssl-dev:amd64 3.0.19-1~deb12u2 > 3.0.22-1~deb12u2
            = libssl3:amd64 3.0.19-1~deb12u2 > 3.0.22-1~deb12u2
            = nginx:amd64 - > 1.22.1-9+deb12u11
            = nginx-common:amd64 - > 1.22.1-9+deb12u11
            = openssl:amd64 3.0.19-1~deb12u2 > 3.0.22-1~deb12u2
        "]]
        .assert_eq(&shown(&changes));
        let down = parse(include_str!("../tests/data/simulate-downgrade.txt"), &amd64()).unwrap();
        assert!(down.len() == 1 && down[0].is_downgrade());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_no_transaction() {
        assert_eq!(parse("Inst openssl (not a version here\n", &amd64()), None);
        assert_eq!(
            parse(
                "Inst libc6:i386 [2-1] (2-2 X:1/stable [i386]) []\nInst same [1] (1 X:1/s [all])\n",
                &amd64()
            )
            .unwrap(),
            [change("libc6:i386", Some("2-1"), Some("2-2"))]
        );
    }

    // rule: V3, V4
    #[tokio::test]
    async fn what_apt_refuses_is_said_in_its_words() {
        let tools = Arc::new(FakeTools::default());
        let host = Host::fake(std::path::Path::new("/nowhere"), tools.clone());
        let unmet = (
            include_str!("../tests/data/simulate-unmet.txt"),
            include_str!("../tests/data/simulate-unmet.err"),
        );
        tools.on("apt-get -s", 100, unmet.0, unmet.1);
        let item = WantedItem { package: key("nginx"), version: Some("1.22.1-9+deb12u9".parse().unwrap()) };
        let Proposal::Refused { message } =
            propose(&host, &Packages::new(), &amd64(), &[item]).await.unwrap()
        else {
            panic!()
        };
        expect![[r"
            E: Unable to correct problems, you have held broken packages.
            nginx : Depends: nginx-common (< 1.22.1-9+deb12u9.1~) but 1.22.1-9+deb12u11 is to be installed"]]
        .assert_eq(&message);
        let gone = Output {
            code: Some(100),
            stdout: String::new(),
            stderr: include_str!("../tests/data/simulate-version-gone.err").into(),
        };
        assert!(is_version_gone(&gone));
        assert_eq!(
            tools.ran("apt-get"),
            ["apt-get -s -o Debug::NoLocking=1 -o APT::Get::Show-User-Simulation-Note=false -y -q \
              --allow-downgrades --allow-change-held-packages install -- nginx:amd64=1.22.1-9+deb12u9"]
        );
    }

    #[tokio::test]
    async fn what_is_to_be_absent_and_is_needs_no_simulation() {
        let host = Host::fake(std::path::Path::new("/nowhere"), Arc::new(FakeTools::default()));
        let item = WantedItem { package: key("telnet"), version: None };
        let proposal = propose(&host, &Packages::new(), &amd64(), &[item]).await.unwrap();
        assert_eq!(proposal, Proposal::Transaction { changes: Vec::new() });
    }
}
