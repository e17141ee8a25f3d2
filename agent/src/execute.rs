//! A step on a real machine: prepared without changing anything, issued, judged by the state that is found afterwards.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use muster_journal::Observation;
use muster_model::{Change, Conffiles, OutcomeReason, PackageKey, StepAction, Transaction, Uid};

use crate::dpkg::{self, Dpkg, Standing};
use crate::facts;
use crate::host::Host;
use crate::simulate::{self, DECIDING, Simulated};
use crate::tools::{Invocation, ToolError, must, tail};
use crate::unit::Act;

/// How long another program may hold dpkg's lock before we refuse: longer than one `apt-get install` of a small package.
const LOCK_SECONDS: u64 = 60;

/// What must be free on / and /var before packages are changed: a kernel with its modules and initrd, unpacked beside the
/// old one, needs some 400 MiB; less would leave dpkg half-way.
const FREE_BYTES: u64 = 512 << 20;

/// How long downloading may take.
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(1800);

/// Why a step must not be done.
pub(crate) type Refusal = (OutcomeReason, String);

/// Carries out steps.
pub(crate) struct Executor {
    pub(crate) host: Host,
    pub(crate) acts: PathBuf,
    /// Nothing may be changed here.
    pub(crate) observe: bool,
    /// How apt was asked in the simulation that said exactly what the step says.
    targets: Mutex<Option<Vec<String>>>,
    /// Why the last attempt could not be issued.
    trouble: Mutex<Option<Refusal>>,
}

impl Executor {
    pub(crate) fn new(host: Host, acts: PathBuf, observe: bool) -> Self {
        Self { host, acts, observe, targets: Mutex::default(), trouble: Mutex::default() }
    }

    /// Checks, simulates, downloads: changes nothing. `held` are the holds in the last report.
    pub(crate) async fn prepare(
        &self,
        action: &StepAction,
        held: Option<&BTreeSet<PackageKey>>,
    ) -> Result<(), Refusal> {
        if self.observe {
            return Err((OutcomeReason::Preflight, "the agent only observes this machine".into()));
        }
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                self.prepare_packages(transaction, held).await
            }
            StepAction::RepairPackages => self.wait_for_lock().await,
            StepAction::HoldPackages { .. } => Ok(()),
            StepAction::SelectKernel(_) | StepAction::SetDefaultKernel(_) => Err(no_kernel_selection()),
            StepAction::Reboot { kernel, command_line: _ } => self.prepare_reboot(kernel.as_deref()),
        }
    }

    fn prepare_reboot(&self, kernel: Option<&str>) -> Result<(), Refusal> {
        if !self.host.has_systemd() {
            return Err((
                OutcomeReason::Preflight,
                "only systemd is asked to reboot, and it does not run here".into(),
            ));
        }
        match kernel {
            Some(release)
                if release != self.host.release() && !self.host.has(&format!("/boot/vmlinuz-{release}")) =>
            {
                Err((OutcomeReason::Preflight, format!("kernel {release} is not installed in /boot")))
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn prepare_packages(
        &self,
        transaction: &Transaction,
        held: Option<&BTreeSet<PackageKey>>,
    ) -> Result<(), Refusal> {
        self.wait_for_lock().await?;
        let dpkg = dpkg::read(&self.host).await.map_err(preflight)?;
        if dpkg.interrupted {
            return Err((OutcomeReason::Preflight, "dpkg was interrupted and must be repaired first".into()));
        }
        if let Some(change) = newly_held(transaction, &dpkg, held) {
            let message = format!("{} was held after the machine last reported", change.package);
            return Err((OutcomeReason::PlanMismatch, message));
        }
        let targets = self.exact_targets(transaction, &dpkg).await?;
        self.check_space().await?;
        self.download(&targets).await?;
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = Some(targets);
        Ok(())
    }

    /// Finds words that make apt do exactly this transaction: all of it by name, else what was requested.
    async fn exact_targets(&self, transaction: &Transaction, dpkg: &Dpkg) -> Result<Vec<String>, Refusal> {
        let mut wanted: Vec<Change> = transaction.changes().cloned().collect();
        wanted.sort();
        let all: Vec<&Change> = transaction.changes().collect();
        let requested: Vec<&Change> = transaction.requested.iter().collect();
        let mut found = None;
        for changes in [all, requested] {
            let targets =
                simulate::targets(changes.iter().map(|change| (&change.package, change.to.as_ref())));
            if targets.is_empty() {
                continue;
            }
            match simulate::simulate(&self.host, &dpkg.native, &targets).await.map_err(preflight)? {
                Simulated::Changes(changes) if changes == wanted => return Ok(targets),
                simulated @ (Simulated::Changes(_) | Simulated::Refused(_)) => {
                    _ = found.get_or_insert(simulated)
                }
            }
        }
        Err(match found {
            None => (OutcomeReason::Preflight, "the step changes no package".into()),
            Some(Simulated::Refused(output)) if simulate::is_version_gone(&output) => {
                (OutcomeReason::VersionGone, simulate::refusal(&output))
            }
            Some(Simulated::Refused(output)) => (OutcomeReason::PlanMismatch, simulate::refusal(&output)),
            Some(Simulated::Changes(changes)) => (OutcomeReason::PlanMismatch, difference(&wanted, &changes)),
        })
    }

    async fn wait_for_lock(&self) -> Result<(), Refusal> {
        for _ in 0..LOCK_SECONDS {
            if !dpkg::is_locked(&self.host) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err((OutcomeReason::Locked, format!("another program has held dpkg's lock for {LOCK_SECONDS} s")))
    }

    async fn check_space(&self) -> Result<(), Refusal> {
        let df = Invocation::reading("df", &["-B1", "--output=avail", "--", "/", "/var"]);
        let text = must(&*self.host.tools, df).await.map_err(preflight)?;
        let least = text.lines().filter_map(|line| line.trim().parse::<u64>().ok()).min();
        match least {
            Some(free) if free < FREE_BYTES => {
                let mib = |bytes: u64| bytes >> 20;
                let message =
                    format!("{} MiB are free on / or /var, {} are needed", mib(free), mib(FREE_BYTES));
                Err((OutcomeReason::Preflight, message))
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn download(&self, targets: &[String]) -> Result<(), Refusal> {
        let options = ["--download-only", "-o", "DPkg::Lock::Timeout=60"];
        let invocation = Invocation::reading("apt-get", &options)
            .with(DECIDING.iter().map(ToString::to_string))
            .with(["install".to_owned(), "--".to_owned()])
            .with(targets.iter().cloned())
            .within(DOWNLOAD_PATIENCE);
        let output = self
            .host
            .tools
            .run(invocation)
            .await
            .map_err(|error| (OutcomeReason::FetchError, chain(&error)))?;
        if output.is_success() {
            return Ok(());
        }
        let reason = if simulate::is_version_gone(&output) {
            OutcomeReason::VersionGone
        } else if is_lock_trouble(&output.stderr) {
            OutcomeReason::Locked
        } else {
            OutcomeReason::FetchError
        };
        Err((reason, simulate::refusal(&output)))
    }

    /// Issues the action, and does not wait for its end.
    pub(crate) async fn act(
        &self,
        uid: &Uid,
        step: usize,
        action: &StepAction,
        attempt: u32,
    ) -> Result<(), String> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let issued = self.issue(&Act::new(&self.acts, uid, step), action, attempt).await;
        issued.map_err(|refusal| {
            let message = refusal.1.clone();
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            message
        })
    }

    async fn issue(&self, act: &Act, action: &StepAction, attempt: u32) -> Result<(), Refusal> {
        let program: Vec<String> = match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                let known = self.targets.lock().unwrap_or_else(PoisonError::into_inner).take();
                let targets = match known {
                    Some(targets) => targets,
                    // The agent died after the intent: apt is asked anew.
                    None => {
                        let dpkg = dpkg::read(&self.host).await.map_err(preflight)?;
                        self.exact_targets(transaction, &dpkg).await?
                    }
                };
                apt_get(transaction.conffiles, targets)
            }
            StepAction::RepairPackages => {
                let keep = ["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"];
                keep.map(str::to_owned).into()
            }
            StepAction::HoldPackages { hold, unhold } => {
                dpkg::mark(&self.host, "unhold", unhold.iter()).await.map_err(preflight)?;
                return dpkg::mark(&self.host, "hold", hold.iter()).await.map_err(preflight);
            }
            StepAction::SelectKernel(_) | StepAction::SetDefaultKernel(_) => {
                return Err(no_kernel_selection());
            }
            StepAction::Reboot { .. } => {
                return must(&*self.host.tools, Invocation::reading("systemctl", &["reboot"]))
                    .await
                    .map(drop)
                    .map_err(preflight);
            }
        };
        act.start(&self.host, attempt, &program).await.map_err(preflight)
    }

    /// Looks at what became of it. An error says that nothing can be seen just now.
    pub(crate) async fn observe(
        &self,
        uid: &Uid,
        step: usize,
        action: &StepAction,
        attempt: u32,
    ) -> Result<Observation, ToolError> {
        if let StepAction::Reboot { .. } = action {
            if facts::is_going_down(&self.host).await? {
                return Ok(Observation::Running);
            }
            let line = self.host.text("/proc/cmdline").unwrap_or_default();
            return Ok(Observation::Booted {
                release: self.host.release().into(),
                command_line: line.trim().into(),
            });
        }
        let act = Act::new(&self.acts, uid, step);
        if act.is_running(&self.host, attempt).await {
            return Ok(Observation::Running);
        }
        let dpkg = dpkg::read(&self.host).await?;
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                match dpkg::standing(&dpkg, transaction.changes()) {
                    Standing::AsWanted => {
                        let came_along =
                            transaction.dependencies.iter().filter(|c| c.from.is_none() && c.to.is_some());
                        dpkg::mark(&self.host, "auto", came_along.map(|change| &change.package)).await?;
                        Ok(Observation::Done)
                    }
                    Standing::AsBefore => Ok(self.nothing_done(&act)),
                    Standing::Between(words) => Ok(failed(words, &act)),
                }
            }
            StepAction::RepairPackages if !dpkg.interrupted => Ok(Observation::Done),
            StepAction::RepairPackages if act.result().is_none() => Ok(self.nothing_done(&act)),
            StepAction::RepairPackages => Ok(failed("dpkg is still interrupted".into(), &act)),
            StepAction::HoldPackages { hold, unhold } => {
                let is_held = |key: &PackageKey| dpkg.packages.get(key).is_some_and(|package| package.held);
                if hold.iter().all(is_held) && !unhold.iter().any(is_held) {
                    return Ok(Observation::Done);
                }
                let trouble =
                    self.trouble().map_or("the holds are not as wanted".into(), |(_, message)| message);
                Ok(Observation::NotDone { reason: OutcomeReason::PackagesNotAsWanted, message: trouble })
            }
            StepAction::SelectKernel(_) | StepAction::SetDefaultKernel(_) => {
                let (reason, message) = no_kernel_selection();
                Ok(Observation::NotDone { reason, message })
            }
            StepAction::Reboot { .. } => unreachable!("returned above"),
        }
    }

    fn trouble(&self) -> Option<Refusal> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Each package is as before: did it end so, or did it never begin?
    fn nothing_done(&self, act: &Act) -> Observation {
        if let Some(result) = act.result() {
            let reason = reason_of_nothing(&result.tail);
            return Observation::Unchanged { reason, message: tail(&result.tail, 1500) };
        }
        if act.was_started() {
            act.forget();
            let message = "apt was ended before it changed anything".to_owned();
            return Observation::NotDone { reason: OutcomeReason::Preflight, message };
        }
        let (reason, message) =
            self.trouble().unwrap_or((OutcomeReason::Preflight, "apt was not started".into()));
        Observation::NotDone { reason, message }
    }
}

fn apt_get(conffiles: Conffiles, targets: Vec<String>) -> Vec<String> {
    let mut program: Vec<String> = vec!["apt-get".into()];
    program.extend(DECIDING.iter().map(ToString::to_string));
    let forces: &[&str] = match conffiles {
        Conffiles::Keep => &["--force-confdef", "--force-confold"],
        Conffiles::Replace => &["--force-confnew"],
        // dpkg asks, gets no answer, and leaves that package unconfigured: the step fails, as wanted.
        Conffiles::Fail => &[],
    };
    let lock = format!("DPkg::Lock::Timeout={LOCK_SECONDS}");
    for option in forces.iter().map(|force| format!("Dpkg::Options::={force}")).chain([lock]) {
        program.extend(["-o".to_owned(), option]);
    }
    program.extend(["install".to_owned(), "--".to_owned()]);
    program.extend(targets);
    program
}

/// A package of the transaction that is held now and was not when the machine last reported: the plan cannot know (V6).
fn newly_held<'a>(
    transaction: &'a Transaction,
    dpkg: &Dpkg,
    reported: Option<&BTreeSet<PackageKey>>,
) -> Option<&'a Change> {
    let reported = reported?;
    let is_new = |key: &PackageKey| {
        dpkg.packages.get(key).is_some_and(|package| package.held) && !reported.contains(key)
    };
    transaction.changes().find(|change| is_new(&change.package))
}

fn failed(words: String, act: &Act) -> Observation {
    let output = act.result().map_or("it was ended in the middle".into(), |result| tail(&result.tail, 1200));
    Observation::Failed { reason: OutcomeReason::PackagesNotAsWanted, message: format!("{words}\n{output}") }
}

/// Why apt ended without changing anything, by what it said.
fn reason_of_nothing(text: &str) -> OutcomeReason {
    if is_lock_trouble(text) {
        OutcomeReason::Locked
    } else if text.contains("E: Failed to fetch") || text.contains("E: Unable to fetch") {
        OutcomeReason::FetchError
    } else if text.lines().any(|line| line.starts_with("E: Version '") && line.ends_with(" was not found")) {
        OutcomeReason::VersionGone
    } else {
        OutcomeReason::PackagesNotAsWanted
    }
}

fn is_lock_trouble(text: &str) -> bool {
    ["Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock"]
        .iter()
        .any(|words| text.contains(words))
}

fn difference(wanted: &[Change], would: &[Change]) -> String {
    let shown = |change: &Change| match &change.to {
        Some(to) => format!("{}={to}", change.package),
        None => format!("{} removed", change.package),
    };
    let list = |these: &[Change], others: &[Change]| {
        let only: Vec<String> =
            these.iter().filter(|change| !others.contains(change)).take(10).map(shown).collect();
        if only.is_empty() { "nothing".to_owned() } else { only.join(", ") }
    };
    format!(
        "apt would do {} that the plan does not say, and not {}",
        list(would, wanted),
        list(wanted, would)
    )
}

fn preflight(error: ToolError) -> Refusal {
    (OutcomeReason::Preflight, chain(&error))
}

/// An error with its causes, once each.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// This agent does not offer `KernelSelection`, so no controller sends it such a step.
fn no_kernel_selection() -> Refusal {
    (OutcomeReason::Preflight, "this agent cannot choose what the boot loader boots".into())
}

#[cfg(test)]
mod tests;
