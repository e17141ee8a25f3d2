//! dpkg's state: what is installed, held, broken. It alone says what a transaction came to (promise P5).

use std::collections::BTreeMap;

use muster_model::{Architecture, Change, DebianVersion, Installed, PackageKey, PackageName, PackageState};

use crate::host::Host;
use crate::tools::{Invocation, Output, ToolError, must};

const FORMAT: &str = "${db:Status-Want}\\t${db:Status-Status}\\t${db:Status-Eflag}\\t${Package}\\t${Architecture}\\t${Version}\\n";

/// Installed packages by key; `automatic` is not dpkg's to know and is `false`.
pub(crate) type Packages = BTreeMap<PackageKey, Installed>;

/// What changing packages would run into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dpkg {
    pub(crate) native: Architecture,
    pub(crate) packages: Packages,
    /// dpkg was interrupted: `dpkg --configure -a` is needed.
    pub(crate) interrupted: bool,
}

/// Asks dpkg for everything.
pub(crate) async fn read(host: &Host) -> Result<Dpkg, ToolError> {
    let native = must(&*host.tools, Invocation::reading("dpkg", &["--print-architecture"])).await?;
    let native = Architecture::parse(native.trim()).map_err(|error| ToolError::Failed {
        program: "dpkg",
        code: Some(0),
        message: error.to_string(),
    })?;
    let text = must(&*host.tools, Invocation::reading("dpkg-query", &["-W", "-f", FORMAT])).await?;
    let packages = parse(&text, &native);
    let interrupted = has_updates(host) || packages.values().any(|package| !package.state.is_installed());
    Ok(Dpkg { native, packages, interrupted })
}

/// /var/lib/dpkg/updates holds numbered files while dpkg works, and after it was killed.
fn has_updates(host: &Host) -> bool {
    host.names("/var/lib/dpkg/updates").iter().any(|name| name.bytes().all(|b| b.is_ascii_digit()))
}

fn parse(text: &str, native: &Architecture) -> Packages {
    text.lines().filter_map(|line| parse_line(line, native)).collect()
}

fn parse_line(line: &str, native: &Architecture) -> Option<(PackageKey, Installed)> {
    let mut fields = line.split('\t');
    let (want, status, flag) = (fields.next()?, fields.next()?, fields.next()?);
    let (name, architecture, version) = (fields.next()?, fields.next()?, fields.next()?);
    if matches!(status, "not-installed" | "config-files") {
        return None;
    }
    let architecture =
        if architecture == "all" { native.clone() } else { Architecture::parse(architecture).ok()? };
    let key = PackageKey { name: PackageName::parse(name).ok()?, architecture };
    let is_fine = status == "installed" && flag == "ok";
    let state = if is_fine { PackageState::Installed } else { PackageState::Broken };
    let version = DebianVersion::parse(version).ok()?;
    Some((key, Installed { version, state, held: want == "hold", automatic: false }))
}

/// Where a set of changes stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Each package is as the change wants it, installed and configured.
    AsWanted,
    /// Each is as it was, and dpkg was not interrupted.
    AsBefore,
    /// Neither: what is not as wanted.
    Between(String),
}

/// Judges changes by dpkg's state alone.
pub(crate) fn standing<'a>(dpkg: &Dpkg, changes: impl Iterator<Item = &'a Change>) -> Standing {
    let changes: Vec<&Change> = changes.collect();
    let has = |change: &Change, version: Option<&DebianVersion>| {
        let installed = dpkg.packages.get(&change.package);
        match (installed, version) {
            (None, None) => true,
            (Some(installed), Some(version)) => {
                installed.version == *version && installed.state.is_installed()
            }
            (Some(_), None) | (None, Some(_)) => false,
        }
    };
    if changes.iter().all(|change| has(change, change.to.as_ref())) {
        return Standing::AsWanted;
    }
    if !dpkg.interrupted && changes.iter().all(|change| has(change, change.from.as_ref())) {
        return Standing::AsBefore;
    }
    let wrong = changes.into_iter().filter(|change| !has(change, change.to.as_ref())).map(|change| {
        let wanted = change.to.as_ref().map_or("not installed", DebianVersion::as_str);
        let found = match dpkg.packages.get(&change.package) {
            None => "not installed".to_owned(),
            Some(found) if found.state.is_installed() => found.version.to_string(),
            Some(found) => format!("{} (not configured)", found.version),
        };
        format!("{}: wanted {wanted}, is {found}", change.package)
    });
    let mut wrong: Vec<String> = wrong.take(10).collect();
    wrong.sort();
    Standing::Between(wrong.join("; "))
}

/// Whether some program holds dpkg's or apt's lock now: what packages are is in flux.
///
/// /proc/locks names the inodes of held locks, so that asking takes no lock away from anyone.
pub(crate) fn is_locked(host: &Host) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let Some(locks) = host.text("/proc/locks") else { return false };
    ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"].into_iter().any(|lock| {
        let Ok(found) = std::fs::metadata(host.path(lock)) else { return false };
        let inode = format!(":{}", found.ino());
        let is_held = |line: &str| {
            line.split_whitespace().any(|word| word.matches(':').count() == 2 && word.ends_with(&inode))
        };
        locks.lines().filter(|line| line.contains(" WRITE ")).any(is_held)
    })
}

/// Sets or lifts holds; what is so already stays so.
pub(crate) async fn mark(
    host: &Host,
    what: &'static str,
    packages: impl Iterator<Item = &PackageKey>,
) -> Result<(), ToolError> {
    let packages: Vec<String> = packages.map(ToString::to_string).collect();
    if packages.is_empty() {
        return Ok(());
    }
    must(&*host.tools, Invocation::reading("apt-mark", &[what]).with(packages)).await.map(drop)
}

/// The packages that apt installed by itself.
pub(crate) async fn automatic(host: &Host, native: &Architecture) -> Result<Vec<PackageKey>, ToolError> {
    let text = must(&*host.tools, Invocation::reading("apt-mark", &["showauto"])).await?;
    Ok(text.lines().filter_map(|line| parse_key(line.trim(), native)).collect())
}

/// Reads `name` or `name:architecture`.
pub(crate) fn parse_key(text: &str, native: &Architecture) -> Option<PackageKey> {
    let (name, architecture) = match text.split_once(':') {
        None | Some((_, "all" | "native")) => (text.split(':').next()?, native.clone()),
        Some((name, architecture)) => (name, Architecture::parse(architecture).ok()?),
    };
    Some(PackageKey { name: PackageName::parse(name).ok()?, architecture })
}

/// apt's or dpkg's own words about a failure: the lines that begin with `E:` or `dpkg:`, else the end.
pub(crate) fn words(output: &Output) -> String {
    let lines = output.stderr.lines().chain(output.stdout.lines());
    let errors: Vec<&str> =
        lines.filter(|line| line.starts_with("E:") || line.starts_with("dpkg: error")).collect();
    if errors.is_empty() {
        crate::tools::tail(&output.stderr, 512)
    } else {
        crate::tools::tail(&errors.join("\n"), 1500)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn amd64() -> Architecture {
        Architecture::parse("amd64").unwrap()
    }

    pub(crate) fn key(text: &str) -> PackageKey {
        parse_key(text, &amd64()).unwrap()
    }

    pub(crate) fn change(package: &str, from: Option<&str>, to: Option<&str>) -> Change {
        let version = |text: &str| DebianVersion::parse(text).unwrap();
        Change { package: key(package), from: from.map(version), to: to.map(version) }
    }

    fn state(text: &str) -> Dpkg {
        Dpkg { native: amd64(), packages: parse(text, &amd64()), interrupted: false }
    }

    #[test]
    fn dpkgs_recorded_words_are_read() {
        let packages = parse(include_str!("../tests/data/dpkg-query.txt"), &amd64());
        assert_eq!(packages.len(), 11);
        let adduser = &packages[&key("adduser")];
        assert_eq!(
            adduser.version.as_str(),
            "3.134",
            "a package for all is listed under the native architecture"
        );
        assert!(adduser.state.is_installed() && !adduser.held);
    }

    #[test]
    fn holds_and_half_done_packages_are_told_apart_and_remains_are_none() {
        let packages = parse(
            "hold\tinstalled\tok\tbash\tamd64\t5.2-1\ninstall\thalf-configured\tok\tless\tamd64\t1-1\n\
             deinstall\tconfig-files\tok\tvim\tamd64\t2-1\ninstall\tinstalled\treinstreq\tsed\ti386\t4-1\nodd line\n",
            &amd64(),
        );
        assert_eq!(packages.len(), 3);
        assert!(packages[&key("bash")].held);
        assert!(!packages[&key("less")].state.is_installed());
        assert!(!packages[&key("sed:i386")].state.is_installed());
    }

    // rule: A2
    #[test]
    fn a_transaction_is_judged_by_what_dpkg_has() {
        let changes = [
            change("openssl", Some("3-1"), Some("3-2")),
            change("nginx", None, Some("1.22")),
            change("less", Some("590"), None),
        ];
        let line = |name: &str, version: &str| format!("install\tinstalled\tok\t{name}\tamd64\t{version}\n");
        let after = line("openssl", "3-2") + &line("nginx", "1.22");
        assert_eq!(standing(&state(&after), changes.iter()), Standing::AsWanted);
        let before = line("openssl", "3-1") + &line("less", "590");
        assert_eq!(standing(&state(&before), changes.iter()), Standing::AsBefore);
        let killed = Dpkg { interrupted: true, ..state(&before) };
        assert!(matches!(standing(&killed, changes.iter()), Standing::Between(_)));
        let half = line("openssl", "3-2") + "install\thalf-configured\tok\tnginx\tamd64\t1.22\n";
        let Standing::Between(words) = standing(&state(&half), changes.iter()) else { panic!() };
        assert_eq!(words, "nginx:amd64: wanted 1.22, is 1.22 (not configured)");
    }

    #[test]
    fn a_lock_that_a_program_holds_is_seen() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let host = Host::fake(folder.path(), std::sync::Arc::new(crate::tools::fake::FakeTools::default()));
        std::fs::create_dir_all(host.path("/var/lib/dpkg")).unwrap();
        std::fs::create_dir_all(host.path("/proc")).unwrap();
        std::fs::write(host.path("/var/lib/dpkg/lock"), "").unwrap();
        std::fs::write(host.path("/proc/locks"), "1: POSIX  ADVISORY  WRITE 77 fd:01:1 0 EOF\n").unwrap();
        assert!(!is_locked(&host));
        let inode = std::fs::metadata(host.path("/var/lib/dpkg/lock")).unwrap().ino();
        std::fs::write(
            host.path("/proc/locks"),
            format!("1: POSIX  ADVISORY  WRITE 77 fd:01:{inode} 0 EOF\n"),
        )
        .unwrap();
        assert!(is_locked(&host));
    }
}
