//! Who asks for kernels in a storm: a package baseline, a kernel baseline, or both (rules K1 to K5); and which waves wait for
//! somebody's approval (rule O7).

use jiff::SignedDuration;
use muster_model::{
    Approval, BaselineCommon, CommandLine, KernelBaseline, Mode, PackageBaseline, Picks, Uid, Wave,
};
use smol_str::SmolStr;

use crate::api::MachineObject;
use crate::archive::{self, KERNEL};
use crate::dice::Dice;
use crate::machine::Host;
use crate::options::Kernels;
use crate::people::Desired;
use crate::storm::Storm;
use crate::world::{name, requirement, selector, share, version_of, wave};

/// Some words that a kernel's command line is to have and some that it is not.
pub(crate) fn command_line(dice: &mut Dice) -> CommandLine {
    let mut line = CommandLine::default();
    for word in ["mitigations=auto", "nosmt", "audit=1"] {
        match dice.below(4) {
            0 => drop(line.present.insert(SmolStr::new_static(word))),
            1 => drop(line.absent.insert(SmolStr::new_static(word))),
            _ => {}
        }
    }
    line
}

/// The kernel baseline that asks for what a package baseline does.
fn of_packages(from: &PackageBaseline, text: &str) -> KernelBaseline {
    let BaselineCommon { selector, mode, priority, .. } = from.common.clone();
    let called = name(text);
    KernelBaseline {
        common: BaselineCommon {
            uid: Uid::parse(&format!("kb-{text}")).expect("letters make a uid"),
            name: called,
            generation: 1,
            selector,
            mode,
            priority,
            provenance: None,
        },
        package: from.packages[0].clone(),
        command_line: CommandLine::default(),
        keep: 2,
        reboot: from.reboot,
        health: from.health.clone(),
        rollout: from.rollout.clone(),
    }
}

/// A share of the machines, and nobody without somebody's word.
fn approved(text: &str, machines: &str, soak_minutes: i64) -> Wave {
    Wave {
        name: name(text),
        picks: Picks::Share(share(machines)),
        soak: SignedDuration::from_mins(soak_minutes),
        approval: Approval::Required,
    }
}

/// In calm weather it asks for the newest kernel of all; where waves ask for approval, one still does.
pub(crate) fn mend(kernel: &mut KernelBaseline, latest: u32, asks_approval: bool) {
    let least = version_of(&archive::package(KERNEL), latest);
    kernel.package = requirement(KERNEL, &format!(">= {least}"));
    kernel.common.mode = Mode::Enforce;
    kernel.common.generation += 1;
    kernel.rollout.waves = if asks_approval { vec![approved("first", "30%", 10)] } else { Vec::new() };
    kernel.rollout.zone_key = None;
    kernel.rollout.max_unavailable = share("30%");
    // Old kernels that come up on no machine are barred before they hold all places (rule O3).
    kernel.rollout.max_failures = share("1");
}

impl Storm {
    pub(crate) fn ask_for_kernels(&mut self, desired: &mut Desired) {
        let Some(packages) = desired.baselines.remove(&name("kernel")) else { return };
        let whims = &mut self.people.whims;
        let mut kernel = of_packages(&packages, "kernel");
        kernel.keep = *whims.pick(&[2, 2, 3]);
        match self.options.kernels {
            Kernels::Packages => desired.baseline(packages),
            Kernels::Kernel => {
                kernel.command_line = command_line(whims);
                desired.kernel(kernel);
            }
            Kernels::Both => {
                kernel.common.selector = selector(&[("role", *whims.pick(&["web", "db", "worker"]))]);
                kernel.common.priority = 5;
                kernel.command_line.present.insert(SmolStr::new_static("mitigations=auto"));
                desired.baseline(packages);
                desired.kernel(kernel);
            }
        }
    }

    /// Some waves wait for somebody's word.
    pub(crate) fn ask_for_approval(&mut self, desired: &mut Desired) {
        let whims = &mut self.people.whims;
        if !self.options.asks_approval {
            return;
        }
        for kernel in desired.kernels.values_mut() {
            kernel.rollout.waves.push(approved("half", "50%", whims.between(0, 30)));
        }
        if let Some(web) = desired.baselines.get_mut(&name("web"))
            && let Some(last) = web.rollout.waves.last_mut()
        {
            last.approval = Approval::Required;
        }
        if let Some(base) = desired.baselines.get_mut(&name("base")).filter(|_| whims.permille(400)) {
            base.rollout.waves.push(wave("canary", "canary", whims.between(0, 20)));
            base.rollout.waves.push(approved("third", "30%", 0));
        }
    }

    /// What a kernel baseline asks of a machine that does not run, or not by default.
    pub(crate) fn kernel_missing(
        &self,
        host: &Host,
        object: &MachineObject,
        verdict: &str,
    ) -> Option<String> {
        let kernels = self.people.desired.kernels.values();
        let mut selecting =
            kernels.filter(|one| one.common.selector.matches(|key| object.machine.label(key)));
        let kernel = selecting.next()?;
        let meta = &kernel.package.name;
        let installed = host.dpkg.installed.get(meta);
        let release = installed.and_then(|version| archive::release_of(&archive::image(version)));
        let met = installed.is_some_and(|version| kernel.package.version.satisfied_by(version))
            && release.as_ref() == Some(&host.release)
            && kernel.command_line.fits(&host.line)
            && host.boots_by_default(&host.release);
        let why = format!(
            "{}: {meta} {installed:?}, running {} ({}), is not as {} wants it, verdict: {verdict}",
            host.name, host.release, host.line, kernel.common.name
        );
        (!met).then_some(why)
    }
}
