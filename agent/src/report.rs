//! Puts the report together. Nothing in it changes unless the machine does, so that its digest is its news.

use std::collections::BTreeSet;

use jiff::Timestamp;
use muster_model::{Boot, Capability, Report};

use crate::host::Host;
use crate::inventory::Gathered;
use crate::tools::ToolError;
use crate::{facts, kernel};

/// What the agent can do where it runs (rule M5).
pub(crate) fn capabilities(observe: bool, host: &Host) -> BTreeSet<Capability> {
    let mut capabilities = BTreeSet::from([Capability::ExactSimulation]);
    if !observe {
        capabilities.extend([Capability::Packages, Capability::Journal]);
        if host.has_systemd() {
            capabilities.insert(Capability::Reboot);
        }
    }
    capabilities
}

/// Linux counts the ticks that it shows to programs in hundredths of a second, on all architectures that Debian has.
const TICKS_PER_SECOND: i64 = 100;

/// When this boot began, by the machine's clock at that time.
///
/// In a container the kernel's boot is the host's; the container's is the start of its first process. On a machine of
/// its own that is the same second.
pub(crate) fn boot(host: &Host) -> Boot {
    let text = host.text("/proc/stat").unwrap_or_default();
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok());
    let later = host.text("/proc/1/stat").and_then(|stat| started(&stat)).unwrap_or_default();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds + later).ok()).unwrap_or_default();
    Boot { id: host.boot_id().as_str().into(), time }
}

/// How many seconds after the kernel a process started, by its line in proc(5): the 22nd field, where the second is in
/// parentheses and may hold anything.
fn started(stat: &str) -> Option<i64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks: i64 = after_name.split_whitespace().nth(19)?.parse().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// The report. `boot` is what was reported first for this boot: the kernel moves its boot time when the clock is set.
pub(crate) async fn gather(
    host: &Host,
    observe: bool,
    gathered: &Gathered,
    boot: Boot,
    last_activity: u64,
) -> Result<Report, ToolError> {
    let kernel = kernel::read(host, &gathered.dpkg.packages).await?;
    Ok(Report {
        agent: env!("CARGO_PKG_VERSION").into(),
        capabilities: capabilities(observe, host).into(),
        os: facts::os(host).into(),
        architecture: gathered.dpkg.native.clone(),
        reboot_required: kernel::reboot_required(host, &kernel).map(Box::new),
        kernel: kernel.into(),
        boot,
        inventory: gathered.digest.clone(),
        dpkg_interrupted: gathered.dpkg.interrupted,
        upgradable: gathered.upgradable,
        security_upgradable: gathered.security_upgradable,
        phasing: gathered.phasing.clone(),
        failed_units: facts::failed_units(host).await.into(),
        hardware: facts::hardware(host).await.into(),
        last_activity,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_boot_is_its_first_process() {
        let stat = "1 (sys (temd) x) S 0 1 1 0 -1 4194560 9 8 7 6 5 4 3 2 20 0 1 0 123456 22 33";
        assert_eq!(started(stat), Some(1234));
        assert_eq!(started("1 (init"), None);
    }

    // rule: M5
    #[test]
    fn an_observing_agent_offers_neither_packages_nor_reboots() {
        let host = Host::system();
        assert_eq!(capabilities(true, &host), [Capability::ExactSimulation].into());
        assert!(capabilities(false, &host).contains(&Capability::Packages));
    }
}
