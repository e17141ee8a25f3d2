//! Kernels: installed, next to boot, booted (rule K1), and whether a reboot is required.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use muster_model::{DebianVersion, InstalledKernel, Kernel, PackageName, RebootRequired};
use smol_str::SmolStr;

use crate::dpkg::Packages;
use crate::host::Host;
use crate::tools::{Invocation, ToolError};

const IMAGE: &str = "linux-image-";

/// Reasons of a reboot that are reported.
const REASONS: usize = 20;

/// Kernels reported: a machine that keeps more has forgotten to clean up, and the newest matter.
const KERNELS: usize = 20;

/// Gathers what is known of kernels.
pub(crate) async fn read(host: &Host, packages: &Packages) -> Result<Kernel, ToolError> {
    let followers = followers(host, packages).await?;
    let mut installed = Vec::new();
    for (key, package) in packages {
        let Some(release) = key.name.as_str().strip_prefix(IMAGE) else { continue };
        let release = release.strip_prefix("unsigned-").unwrap_or(release);
        if host.has(&format!("/boot/vmlinuz-{release}")) {
            let followed_by = followers.get(key.name.as_str()).cloned().unwrap_or_default();
            let (package, version) = (key.name.clone(), package.version.clone());
            installed.push(InstalledKernel { release: release.into(), package, version, followed_by });
        }
    }
    installed.sort_by(|a, b| b.version.cmp(&a.version).then_with(|| a.package.cmp(&b.package)));
    installed.truncate(KERNELS);
    Ok(Kernel {
        booted: host.release().into(),
        installed,
        next_boot: next_boot(host),
        command_line: host.text("/proc/cmdline").unwrap_or_default().trim().into(),
    })
}

/// By image package: the installed packages that depend on it by name, as meta-packages do (rule K5).
async fn followers(
    host: &Host,
    packages: &Packages,
) -> Result<BTreeMap<String, BTreeMap<PackageName, DebianVersion>>, ToolError> {
    let format = "${db:Status-Status}\\t${Package}\\t${Depends}\\n";
    let output = host.tools.run(Invocation::reading("dpkg-query", &["-W", "-f", format, "linux-*"])).await?;
    let mut followers: BTreeMap<String, BTreeMap<PackageName, DebianVersion>> = BTreeMap::new();
    for line in output.stdout.lines() {
        let mut fields = line.splitn(3, '\t');
        let (Some("installed"), Some(name), Some(depends)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some((key, package)) = packages.iter().find(|(key, _)| key.name.as_str() == name) else {
            continue;
        };
        for dependency in depends.split(',') {
            let dependency = dependency.trim().split([' ', ':']).next().unwrap_or_default();
            if dependency.starts_with(IMAGE) {
                let of = followers.entry(dependency.to_owned()).or_default();
                of.insert(key.name.clone(), package.version.clone());
            }
        }
    }
    Ok(followers)
}

/// The release that GRUB would start next, where that can be told: its first entry, unless something was chosen.
fn next_boot(host: &Host) -> Option<SmolStr> {
    let config = host.text("/boot/grub/grub.cfg")?;
    let environment = host.text("/boot/grub/grubenv").unwrap_or_default();
    let chosen = |name: &str| {
        environment.lines().any(|line| line.strip_prefix(name).is_some_and(|value| !value.is_empty()))
    };
    if chosen("next_entry=") || (config.contains("\"${saved_entry}\"") && chosen("saved_entry=")) {
        return None;
    }
    let mut defaults = config.lines().filter_map(|line| line.trim().strip_prefix("set default="));
    if !defaults.any(|value| value == "\"0\"") && !config.contains("set default=\"${saved_entry}\"") {
        return None;
    }
    config.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_kernel = matches!(words.next(), Some("linux" | "linuxefi" | "linux16"));
        let file = is_kernel.then(|| words.next())??;
        Some(
            file.rsplit_once("/vmlinuz-")
                .map(|(_, release)| release)
                .or(file.strip_prefix("vmlinuz-"))?
                .into(),
        )
    })
}

/// Whether a reboot is required, since when and why.
///
/// Ubuntu says so by a file. On Debian, which has none, it is a kernel newer than the running one: another release that
/// boots next, or the same release in another version of its package.
pub(crate) fn reboot_required(host: &Host, kernel: &Kernel) -> Option<RebootRequired> {
    let modified = |path: &str| {
        let time = std::fs::metadata(host.path(path)).ok()?.modified().ok()?;
        Timestamp::try_from(time).ok()
    };
    if let Some(since) = modified("/run/reboot-required") {
        let packages = host.text("/run/reboot-required.pkgs").unwrap_or_default();
        let packages: BTreeSet<SmolStr> =
            packages.lines().map(str::trim).filter(|line| !line.is_empty()).map(SmolStr::new).collect();
        return Some(RebootRequired { since, packages: packages.into_iter().take(REASONS).collect() });
    }
    let waiting = waiting_kernel(host, kernel)?;
    let since = modified(&format!("/boot/vmlinuz-{}", waiting.release)).unwrap_or_default();
    Some(RebootRequired { since, packages: BTreeSet::from([waiting.package.as_str().into()]) })
}

fn waiting_kernel<'a>(host: &Host, kernel: &'a Kernel) -> Option<&'a InstalledKernel> {
    let running = kernel.installed.iter().find(|installed| installed.release == kernel.booted)?;
    let version = host.text("/proc/version").unwrap_or_default();
    // Debian's kernels say their package's version: `… Debian 6.1.170-1 (2025-…)`. Ubuntu's say so with that file.
    let built = version.split_once(" Debian ").and_then(|(_, rest)| rest.split(' ').next());
    if built.is_some_and(|built| DebianVersion::parse(built).is_ok_and(|built| built != running.version)) {
        return Some(running);
    }
    let next = match &kernel.next_boot {
        Some(release) => kernel.installed.iter().find(|installed| installed.release == *release),
        None => {
            kernel.installed.iter().find(|installed| flavour(&installed.release) == flavour(&running.release))
        }
    };
    next.filter(|next| next.release != running.release && next.version > running.version)
}

/// `cloud-amd64` of `6.1.0-50-cloud-amd64`.
fn flavour(release: &str) -> &str {
    release.splitn(3, '-').nth(2).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dpkg::tests::key;
    use crate::tools::fake::FakeTools;
    use muster_model::{Installed, PackageState};

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Host, Packages) {
        let tools = FakeTools::default();
        tools.on(
            "dpkg-query",
            0,
            "installed\tlinux-image-cloud-amd64\tlinux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)\n\
             installed\tlinux-image-6.1.0-50-cloud-amd64\tkmod, linux-base (>= 4.3~)\n",
            "",
        );
        let folder = tempfile::tempdir().unwrap();
        let host = Host::fake(folder.path(), Arc::new(tools));
        for (path, text) in files {
            std::fs::create_dir_all(host.path(path).parent().unwrap()).unwrap();
            std::fs::write(host.path(path), text).unwrap();
        }
        let installed = |version: &str| Installed {
            version: version.parse().unwrap(),
            state: PackageState::Installed,
            held: false,
            automatic: false,
        };
        let packages = [
            ("linux-image-6.1.0-49-cloud-amd64", "6.1.170-1"),
            ("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1"),
            ("linux-image-cloud-amd64", "6.1.176-1"),
        ];
        (folder, host, packages.map(|(name, version)| (key(name), installed(version))).into())
    }

    const BOOT: [(&str, &str); 4] = [
        ("/boot/vmlinuz-6.1.0-49-cloud-amd64", ""),
        ("/boot/vmlinuz-6.1.0-50-cloud-amd64", ""),
        ("/proc/sys/kernel/osrelease", "6.1.0-49-cloud-amd64\n"),
        (
            "/boot/grub/grub.cfg",
            "  set default=\"0\"\nmenuentry 'Debian' {\n  linux /boot/vmlinuz-6.1.0-50-cloud-amd64 root=/dev/vda1 ro\n}\n",
        ),
    ];

    // rule: K1, K5
    #[tokio::test]
    async fn installed_next_and_booted_are_three_facts() {
        let (_folder, host, packages) = machine(&BOOT);
        let kernel = read(&host, &packages).await.unwrap();
        assert_eq!(kernel.booted, "6.1.0-49-cloud-amd64");
        assert_eq!(kernel.next_boot.as_deref(), Some("6.1.0-50-cloud-amd64"));
        let newest = &kernel.installed[0];
        assert_eq!((kernel.installed.len(), newest.release.as_str()), (2, "6.1.0-50-cloud-amd64"));
        let meta = PackageName::parse("linux-image-cloud-amd64").unwrap();
        assert_eq!(newest.followed_by[&meta].as_str(), "6.1.176-1");
        assert!(kernel.installed[1].followed_by.is_empty());
        let required = reboot_required(&host, &kernel).unwrap();
        assert!(required.packages.contains("linux-image-6.1.0-50-cloud-amd64"));
    }

    // rule: K1
    #[tokio::test]
    async fn a_kernel_upgraded_in_place_wants_a_reboot_and_the_running_one_does_not() {
        let mut files = BOOT.to_vec();
        files[2].1 = "6.1.0-50-cloud-amd64\n";
        files.push((
            "/proc/version",
            "Linux version 6.1.0-50-cloud-amd64 (x) #1 SMP Debian 6.1.176-1 (2026-01-01)\n",
        ));
        let (_folder, host, mut packages) = machine(&files);
        let kernel = read(&host, &packages).await.unwrap();
        assert_eq!(reboot_required(&host, &kernel), None);
        packages.get_mut(&key("linux-image-6.1.0-50-cloud-amd64")).unwrap().version =
            "6.1.180-1".parse().unwrap();
        let kernel = read(&host, &packages).await.unwrap();
        assert!(reboot_required(&host, &kernel).is_some());
    }

    #[tokio::test]
    async fn ubuntus_file_tells_why_and_a_chosen_entry_makes_the_next_boot_unknown() {
        let mut files = BOOT.to_vec();
        files.push(("/run/reboot-required", "*** System restart required ***\n"));
        files.push(("/run/reboot-required.pkgs", "linux-base\nlibc6\nlibc6\n"));
        files.push(("/boot/grub/grubenv", "# GRUB Environment Block\nnext_entry=1>2\n"));
        let (_folder, host, packages) = machine(&files);
        let kernel = read(&host, &packages).await.unwrap();
        assert_eq!(kernel.next_boot, None);
        let required = reboot_required(&host, &kernel).unwrap();
        assert_eq!(required.packages, ["libc6", "linux-base"].map(SmolStr::new).into());
    }
}
