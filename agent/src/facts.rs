//! Facts about the machine beyond packages and kernels: operating system, hardware, units.

use std::collections::BTreeSet;

use muster_model::{Hardware, Os, UnitName};
use smol_str::SmolStr;

use crate::host::Host;
use crate::tools::{Invocation, ToolError};

/// Failed units reported.
const FAILED_UNITS: usize = 50;

/// From os-release(5).
pub(crate) fn os(host: &Host) -> Os {
    let text = host.text("/etc/os-release").or_else(|| host.text("/usr/lib/os-release")).unwrap_or_default();
    let field = |name: &str| -> SmolStr {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim().trim_matches(['"', '\'']).into()
    };
    Os { id: field("ID"), version_id: field("VERSION_ID"), codename: field("VERSION_CODENAME") }
}

/// CPU, memory, GPUs, virtualization.
pub(crate) async fn hardware(host: &Host) -> Hardware {
    let cpu = host.text("/proc/cpuinfo").unwrap_or_default();
    let field = |names: &[&str]| -> SmolStr {
        let found = cpu.lines().filter_map(|line| line.split_once(':'));
        let mut found = found.filter(|(name, _)| names.contains(&name.trim()));
        found.next().map(|(_, value)| value.trim()).unwrap_or_default().into()
    };
    let cpus = cpu.lines().filter(|line| line.starts_with("processor") && line.contains(':')).count();
    let memory = host.text("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    // It says `none`, and fails, on bare metal.
    let virtualization = host.tools.run(Invocation::reading("systemd-detect-virt", &[])).await;
    Hardware {
        cpu_vendor: field(&["vendor_id", "CPU implementer"]),
        cpu_family: field(&["cpu family", "CPU architecture"]),
        cpu_model: field(&["model name"]),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory_mib: kib.unwrap_or(0) / 1024,
        gpus: gpus(host),
        virtualization: virtualization.map(|output| output.stdout.trim().into()).unwrap_or_default(),
    }
}

/// Display controllers (PCI class 03) of the vendors that drivers are asked for.
fn gpus(host: &Host) -> BTreeSet<SmolStr> {
    const DEVICES: &str = "/sys/bus/pci/devices";
    let vendor = |device: &String| {
        let class = host.text(&format!("{DEVICES}/{device}/class"))?;
        class.starts_with("0x03").then(|| host.text(&format!("{DEVICES}/{device}/vendor")))?
    };
    let names = host.names(DEVICES);
    let vendors = names.iter().filter_map(vendor);
    vendors
        .filter_map(|vendor| match vendor.trim() {
            "0x10de" => Some("nvidia".into()),
            "0x1002" => Some("amd".into()),
            "0x8086" => Some("intel".into()),
            _ => None,
        })
        .collect()
}

/// Units in state `failed`; none where systemd does not run.
pub(crate) async fn failed_units(host: &Host) -> BTreeSet<UnitName> {
    if !host.has_systemd() {
        return BTreeSet::new();
    }
    let options = ["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager", "--full"];
    let text = host.tools.run(Invocation::reading("systemctl", &options)).await.map(|output| output.stdout);
    let text = text.unwrap_or_default();
    let names = text.lines().filter_map(|line| UnitName::parse(line.split_whitespace().next()?).ok());
    names.take(FAILED_UNITS).collect()
}

/// Whether the machine is about to go down: systemd stops it already, or logind waits for programs that asked for a moment
/// before that (`systemctl reboot` goes to logind first).
pub(crate) async fn is_going_down(host: &Host) -> Result<bool, ToolError> {
    let state = host.tools.run(Invocation::reading("systemctl", &["is-system-running"])).await?;
    if state.stdout.trim() == "stopping" {
        return Ok(true);
    }
    let property = ["get-property", "org.freedesktop.login1", "/org/freedesktop/login1"];
    let property = Invocation::reading("busctl", &property)
        .with(["org.freedesktop.login1.Manager".into(), "PreparingForShutdown".into()]);
    // Without logind it fails, and only systemd is asked to reboot.
    let preparing = host.tools.run(property).await?;
    Ok(preparing.stdout.trim() == "b true")
}

/// How a unit stands, for an activity's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitState {
    Active,
    /// Not active, but it may still become so.
    Starting,
    Failed,
}

/// The states of units, in their order. A unit that does not exist is `inactive` and never becomes active.
pub(crate) async fn unit_states(host: &Host, units: &[UnitName]) -> Vec<UnitState> {
    let names = units.iter().map(ToString::to_string);
    let invocation = Invocation::reading("systemctl", &["is-active", "--"]).with(names);
    let text = host.tools.run(invocation).await.map(|output| output.stdout).unwrap_or_default();
    let mut lines = text.lines();
    let state = |line: Option<&str>| match line {
        Some("active" | "reloading" | "refreshing") => UnitState::Active,
        Some("failed") => UnitState::Failed,
        Some(_) | None => UnitState::Starting,
    };
    units.iter().map(|_| state(lines.next())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tools::fake::FakeTools;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Arc<FakeTools>, Host) {
        let folder = tempfile::tempdir().unwrap();
        let tools = Arc::new(FakeTools::default());
        let host = Host::fake(folder.path(), tools.clone());
        for (path, text) in files {
            std::fs::create_dir_all(host.path(path).parent().unwrap()).unwrap();
            std::fs::write(host.path(path), text).unwrap();
        }
        (folder, tools, host)
    }

    #[tokio::test]
    async fn hardware_is_read_from_the_kernels_own_files() {
        let (_folder, tools, host) = machine(&[
            (
                "/proc/cpuinfo",
                "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n",
            ),
            ("/proc/meminfo", "MemTotal:       24592312 kB\nMemFree: 1 kB\n"),
            ("/sys/bus/pci/devices/0000:00:01.0/class", "0x030200\n"),
            ("/sys/bus/pci/devices/0000:00:01.0/vendor", "0x10de\n"),
            ("/sys/bus/pci/devices/0000:00:02.0/class", "0x020000\n"),
            ("/sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n"),
            (
                "/etc/os-release",
                "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\nVERSION_CODENAME=bookworm\n",
            ),
        ]);
        tools.on("systemd-detect-virt", 1, "none\n", "");
        let hardware = hardware(&host).await;
        assert_eq!(
            (hardware.cpu_vendor.as_str(), hardware.cpu_family.as_str(), hardware.cpus),
            ("AuthenticAMD", "25", 2)
        );
        assert_eq!((hardware.memory_mib, hardware.virtualization.as_str()), (24015, "none"));
        assert_eq!(hardware.gpus, ["nvidia".into()].into());
        let os = os(&host);
        assert_eq!(
            (os.id.as_str(), os.version_id.as_str(), os.codename.as_str()),
            ("debian", "12", "bookworm")
        );
    }

    #[tokio::test]
    async fn units_are_told_apart_by_what_systemctl_says() {
        let (_folder, tools, host) = machine(&[("/run/systemd/system/x", "")]);
        tools.on("systemctl list-units", 0, "nginx.service loaded failed failed A web server\nodd\n", "");
        assert_eq!(failed_units(&host).await, ["nginx.service".parse().unwrap()].into());
        tools.on("systemctl is-active", 3, "active\nactivating\nfailed\n", "");
        let units = ["a.service", "b.service", "c.service", "d.service"].map(|name| name.parse().unwrap());
        assert_eq!(
            unit_states(&host, &units).await,
            [UnitState::Active, UnitState::Starting, UnitState::Failed, UnitState::Starting]
        );
    }

    #[tokio::test]
    async fn a_machine_that_goes_down_is_told_from_one_that_only_runs_degraded() {
        let (_folder, tools, host) = machine(&[]);
        tools.on("systemctl is-system-running", 1, "degraded\n", "");
        tools.on("busctl get-property org.freedesktop.login1", 0, "b false\n", "");
        assert!(!is_going_down(&host).await.unwrap());
        tools.on("busctl get-property org.freedesktop.login1", 0, "b true\n", "");
        assert!(is_going_down(&host).await.unwrap(), "logind waits for those who asked for a moment");
        tools.on("busctl get-property org.freedesktop.login1", 1, "", "The name is not activatable");
        assert!(!is_going_down(&host).await.unwrap(), "without logind, systemd knows");
        tools.on("systemctl is-system-running", 1, "stopping\n", "");
        assert!(is_going_down(&host).await.unwrap());
    }
}
