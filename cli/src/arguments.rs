//! The command line, as design §11 has it; its texts are the reference manual.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use muster_model::{GoDuration, MachineName};
use muster_sim::machines::MACHINES_LIMIT;

/// Keeps a fleet of Ubuntu and Debian machines at the state that Git declares.
#[derive(Parser, Debug)]
#[command(name = "muster", version, max_term_width = 110)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Runs all of Muster on this machine: Kubernetes API, controller, gateway for agents.
    Up(UpArguments),
    /// Says why a machine is, or is not, as wanted; by which rule, and when that clears.
    Why(WhyArguments),
    /// Shows the fleet: machines, sources, baselines, windows, budgets.
    Status(StatusArguments),
    /// Checks a folder of desired resources, as a source would before it applies them.
    Validate(ValidateArguments),
    /// Holds an event log against the rules: which was broken, where, when.
    Check(CheckArguments),
    /// Declares a machine's failures dealt with: they spend no budget any more.
    Resolve(MarkArguments),
    /// Lets a machine try again what failed there too often.
    Retry(MarkArguments),
    /// Pauses a baseline's rollout, or one item of it: it starts nowhere until it is resumed.
    Pause(WordArguments),
    /// Lets what is paused or barred go on: failures so far count no more, a wave without evidence is passed over.
    Resume(WordArguments),
    /// Approves what a baseline's waves ask approval for.
    Approve(WordArguments),
    /// Makes a token, and prints the one command that enrols a machine with it.
    Enroll(EnrollArguments),
    /// Says what desired resources would do to which machine: same inputs, same answer, wherever it is asked.
    Plan(PlanArguments),
    /// Runs a fleet with desired resources forward: the real decisions, machines that take as long as was measured, and
    /// nothing that goes wrong.
    Simulate(SimulateArguments),
    /// Says when maintenance windows are open.
    Windows(WindowsArguments),
    /// The fleet's state as a file, for plans that are made elsewhere.
    #[command(subcommand)]
    State(StateCommand),
    /// Writes what people wrote (specs, tokens, the fleet's root), to move a fleet to a cluster with `kubectl apply`.
    Export(ExportArguments),
    /// Leads one namespace of a Kubernetes cluster: sources, plans, activities. Of several, one leads at a time.
    Controller(ControllerArguments),
    /// Serves the agents of one namespace of a Kubernetes cluster; any number of them may run.
    Gateway(GatewayArguments),
}

/// How an answer is printed.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}

/// Which API to talk to.
#[derive(Args, Debug, Default)]
pub(crate) struct ClientArguments {
    /// The kubeconfig. Without it: $KUBECONFIG, the one of the last `muster up` that chose its own state directory,
    /// ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The namespace; without it, the kubeconfig's.
    #[arg(long, short)]
    pub(crate) namespace: Option<String>,
}

/// How a plan is printed.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PlanOutput {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
    /// For a comment on a pull request.
    Markdown,
}

/// `muster plan`.
#[derive(Args, Debug)]
#[command(
    after_help = "Ends with 0 when there is nothing to do, 2 with changes, 1 with problems, 3 when more machines \
are affected than the FleetPolicy's blastRadius allows, 64 when the command line makes no sense."
)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) desired: DesiredArguments,
    #[command(flatten)]
    pub(crate) world: WorldArguments,
    /// The instant, in RFC 3339. Without it: when the state was exported, or now.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// How to print the plan.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: PlanOutput,
}

/// `muster simulate`.
#[derive(Args, Debug)]
#[command(
    after_help = "Ends with 0 when the fleet converges in time, 2 when it does not, 1 with problems, 64 when the command \
line makes no sense. Absent machines, and those that are not ours to change, keep no fleet from converging."
)]
pub(crate) struct SimulateArguments {
    /// A folder of desired resources.
    #[arg(long, value_name = "DIR")]
    pub(crate) desired: PathBuf,
    /// The GitSource that the resources are to come from, in a namespace that has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) world: WorldArguments,
    /// From then on, in RFC 3339. Without it: when the state was exported, or now.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// Until then; at most a year.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Timestamp,
    /// What the dice start from: they say how long each step takes. The same seed, the same bytes.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Writes what happens to this file, as an event log that `muster check` judges.
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// How to print the answer.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// Which resources a plan is about.
#[derive(Args, Debug, Default)]
pub(crate) struct DesiredArguments {
    /// A folder of desired resources: what they would do.
    #[arg(long, value_name = "DIR", required_unless_present = "repo", conflicts_with_all = ["repo", "base", "head", "path"])]
    pub(crate) desired: Option<PathBuf>,
    /// A Git repository on this machine: what the step from --base to --head would change.
    #[arg(long, value_name = "DIR", requires = "base", requires = "head")]
    pub(crate) repo: Option<PathBuf>,
    /// The commit that is compared with: anything that `git rev-parse` takes.
    #[arg(long, value_name = "COMMIT", requires = "repo")]
    pub(crate) base: Option<String>,
    /// The commit that is planned.
    #[arg(long, value_name = "COMMIT", requires = "repo")]
    pub(crate) head: Option<String>,
    /// The folder inside the repository. Without it: all of it.
    #[arg(long, value_name = "DIR", requires = "repo")]
    pub(crate) path: Option<String>,
    /// The GitSource that the resources are to come from, in a namespace that has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
}

/// `muster windows`.
#[derive(Args, Debug)]
pub(crate) struct WindowsArguments {
    /// A folder of desired resources.
    #[arg(long, value_name = "DIR")]
    pub(crate) desired: PathBuf,
    /// From then on, in RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Timestamp,
    /// Until then.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Timestamp,
    /// The namespace of resources that do not name one.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    /// How to print the answer.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `muster state`.
#[derive(Subcommand, Debug)]
pub(crate) enum StateCommand {
    /// Writes everything that decisions depend on: machines, packages, proposals, activities, presence. No secrets.
    Export(StateExportArguments),
}

/// `muster state export`.
#[derive(Args, Debug)]
pub(crate) struct StateExportArguments {
    /// Where to; compressed where the name ends in .zst. Without it: standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `muster export`.
#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    /// Where to: a file that does not exist yet; only its owner can read it. Without it: standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// Which fleet a plan is of.
#[derive(Args, Debug)]
pub(crate) struct WorldArguments {
    /// A file that `muster state export` wrote; nothing is asked of any server then.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kubeconfig", "namespace"])]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `muster up`.
#[derive(Args, Debug)]
pub(crate) struct UpArguments {
    /// The desired state: a folder, whose files count as soon as they are saved; or a Git repository's URL (https, ssh,
    /// file), `URL#BRANCH` or `URL?ref=BRANCH-OR-COMMIT&path=DIR`. Without a branch: main.
    #[arg(value_name = "DIR|URL")]
    pub(crate) source: String,
    /// The namespace of the fleet.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    /// Where everything is kept. Without it: a directory of its own for each source below $XDG_STATE_HOME/muster
    /// (~/.local/state/muster).
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where the Kubernetes API listens. Port 0: the port of the last time, or any.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where agents find the gateway. Port 0: the port of the last time, or any.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) agents_listen: SocketAddr,
    /// Runs so many fake machines that go through the real gateway: sim-00000 and so on, labelled role, ring and zone by
    /// their number. At most 9,000: each holds two connections or three, and one address has some 28,000 ports for them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(MACHINES_LIMIT)))]
    pub(crate) simulate: Option<u32>,
    /// How long a step takes on a fake machine.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub(crate) sim_step: SignedDuration,
    /// What the fake machines' dice start from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Enrols this machine too, observing only: it reports, and nothing is ever done to it.
    #[arg(long)]
    pub(crate) this_host: bool,
    /// Ends when that is so: every admitted machine (with --simulate, at least N) has converged on the source's newest
    /// revision.
    #[arg(long, value_name = "STATE")]
    pub(crate) until: Option<Until>,
    /// With --until: ends with 3 after so long.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: SignedDuration,
    /// Appends each API request to this file, as audit.k8s.io/v1 JSON lines.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
    /// Appends what happens to this file, as an event log that `muster check` judges.
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// json: the first line of the output says that it is ready, and where.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// What `muster up` may wait for.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The fleet has converged.
    Converged,
}

/// `muster why`.
#[derive(Args, Debug)]
pub(crate) struct WhyArguments {
    /// The machine's name.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) machine: Option<MachineName>,
    /// Every machine, those with the same answer together.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
    /// How to print the answer.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `muster status`.
#[derive(Args, Debug)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) client: ClientArguments,
    /// How to print the answer.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `muster validate`.
#[derive(Args, Debug)]
pub(crate) struct ValidateArguments {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// How to print the problems.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `muster check`.
#[derive(Args, Debug)]
#[command(
    after_help = "Ends with 0 when no rule was broken, 2 when one was, 1 when the log cannot be read, 64 when the \
command line makes no sense. A line may have 4 MiB; at most 10,000 violations are listed."
)]
pub(crate) struct CheckArguments {
    /// The log, as `muster up --events` and `muster simulate --events` write it.
    pub(crate) events: PathBuf,
    /// How to print what was found.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `muster resolve` and `muster retry`.
#[derive(Args, Debug)]
pub(crate) struct MarkArguments {
    /// The machine's name.
    pub(crate) machine: MachineName,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `muster pause`, `muster resume` and `muster approve`.
#[derive(Args, Debug)]
pub(crate) struct WordArguments {
    /// The baseline's name; `kb/NAME` for a KernelBaseline where a PackageBaseline has the same.
    pub(crate) baseline: String,
    /// One item instead of all: PACKAGE, PACKAGE:ARCHITECTURE, PACKAGE=VERSION or PACKAGE=absent.
    pub(crate) item: Option<String>,
    /// Why, for people.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `muster enroll`.
#[derive(Args, Debug)]
pub(crate) struct EnrollArguments {
    /// A label that each machine gets, KEY=VALUE; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// How many machines may enrol with the token.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_uses: u32,
    /// How long the token is good.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub(crate) expires: SignedDuration,
    /// Machines wait until somebody admits them.
    #[arg(long)]
    pub(crate) pending: bool,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
    /// How to print the token.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `muster controller`.
#[derive(Args, Debug)]
pub(crate) struct ControllerArguments {
    #[command(flatten)]
    pub(crate) client: ClientArguments,
    /// Where clones of sources are kept; they are made anew when it is empty.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/muster")]
    pub(crate) state_dir: PathBuf,
}

/// `muster gateway`.
#[derive(Args, Debug)]
pub(crate) struct GatewayArguments {
    #[command(flatten)]
    pub(crate) client: ClientArguments,
    /// The address to listen on, for agents.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    pub(crate) listen: SocketAddr,
    /// What agents reach it by, HOST:PORT, which `muster enroll` prints; without it, the address that it listens on.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) public_address: Option<String>,
    /// Its own name among the gateways of the namespace, such as the pod's; it must stay the same over a restart.
    #[arg(long, value_name = "NAME", default_value = "gateway")]
    pub(crate) id: String,
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    GoDuration::parse(text).map(GoDuration::length).map_err(|error| error.to_string())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    muster_model::label_key(key).map_err(|error| error.to_string())?;
    muster_model::label_value(key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_label_is_checked_before_anything_is_asked_of_the_server() {
        assert_eq!(label("role=web"), Ok(("role".to_owned(), "web".to_owned())));
        assert!(label("role").is_err());
        assert!(label("ro le=web").is_err());
    }
}
