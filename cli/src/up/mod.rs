//! `muster up`: everything in one process, started in order and ended in the opposite one.
//!
//! API (the store, TLS) → definitions → controller → gateway → source → fake machines and this machine's agent. The
//! parts talk to the API as they would on a cluster, each with its own identity, only without a socket.
//!
//! Deliberately not here: what any of the parts does.

mod addresses;
mod authority;
mod events;
mod kubeconfig;
mod limits;
mod machines;
mod parts;
mod picture;
mod progress;
mod source;
mod state;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use kube::Client;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::addresses::AddressError;
use self::authority::AuthorityError;
use self::events::EventsError;
use self::limits::LimitError;
use self::machines::{Fleet, MachinesError};
use self::parts::{Parts, PartsError};
use self::picture::Picture;
use self::progress::Style;
pub(crate) use self::source::Desired;
use self::state::{State, StateError};
use crate::arguments::{Output, Until, UpArguments};
use crate::exit::ExitStatus;
use crate::printer::Printer;
use crate::signals::Signals;
use crate::{logs, places};

/// Why `muster up` did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
    /// No place for the state.
    #[error(
        "there is no place for the state: neither $XDG_STATE_HOME nor a home directory; give --state-dir"
    )]
    NoPlace,
    /// The state directory fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// The link to the state directory cannot be made.
    #[error("cannot make the link `current` in {}, by which other commands find this one", base.display())]
    Link {
        /// Where.
        base: PathBuf,
        source: std::io::Error,
    },
    /// Certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Listening.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Open files.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The event log.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// A part.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// Fake machines, or this machine's agent.
    #[error(transparent)]
    Machines(#[from] MachinesError),
    /// Signals.
    #[error("cannot listen to signals")]
    Signals(#[source] std::io::Error),
}

/// How a run ended by itself.
enum End {
    Signal,
    Converged,
    TimedOut,
}

/// Runs until a signal, or until what `--until` waits for.
pub(crate) async fn run(
    arguments: UpArguments,
    desired: Desired,
    printer: Printer,
) -> Result<ExitStatus, UpError> {
    let mut signals = Signals::listen().map_err(UpError::Signals)?;
    let state = take_state(&arguments, &desired)?;
    let style = Style::of(arguments.output);
    match style {
        Style::Live => logs::start(Some(state.log()?), logs::TALKATIVE),
        Style::Lines => logs::start(None, logs::QUIET),
        Style::Silent => logs::start(None, logs::TALKATIVE),
    }
    limits::raise(arguments.simulate.unwrap_or(0))?;
    let mut parts = Parts::start(&arguments, &desired, &state).await?;
    say_ready(&arguments, &desired, &state, &parts, printer);
    let started = Instant::now();
    let result = live(&arguments, &state, &mut parts, &mut signals, style, printer).await;
    // Whoever asks twice does not want to wait.
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(130);
    });
    parts.stop().await;
    let (end, picture) = result?;
    Ok(say_end(&arguments, &end, &picture, started.elapsed(), printer))
}

fn take_state(arguments: &UpArguments, desired: &Desired) -> Result<State, UpError> {
    if let Some(folder) = &arguments.state_dir {
        return Ok(State::take(folder)?);
    }
    let base = places::base().ok_or(UpError::NoPlace)?;
    let state = State::take(&places::of_source(&base, &desired.shown(), &arguments.namespace))?;
    places::set_current(&base, state.root()).map_err(|source| UpError::Link { base, source })?;
    Ok(state)
}

/// From readiness to the end: machines, progress, and whatever comes first.
async fn live(
    arguments: &UpArguments,
    state: &State,
    parts: &mut Parts,
    signals: &mut Signals,
    style: Style,
    printer: Printer,
) -> Result<(End, Picture), UpError> {
    let (sender, pictures) = watch::channel(Picture::default());
    let client: Client = parts.admin();
    let namespace = arguments.namespace.clone();
    let (gateway, root) = (parts.gateway_address(), parts.root());
    let fleet = Fleet { client: client.clone(), namespace: namespace.clone(), gateway, root };
    let mut watching = JoinSet::new();
    watching.spawn(picture::follow(client, namespace, sender));
    watching.spawn(progress::show(style, pictures.clone(), printer));
    let at_least = usize::try_from(arguments.simulate.unwrap_or(0)).expect("a u32 fits");
    let end = tokio::select! {
        () = signals.next() => Ok(End::Signal),
        error = parts.failed() => Err(error.into()),
        error = machines::run(arguments, state, &fleet) => Err(error.into()),
        () = converged(arguments.until, at_least, pictures.clone()) => Ok(End::Converged),
        () = timeout(arguments.until, arguments.timeout) => Ok(End::TimedOut),
    };
    watching.shutdown().await;
    let picture = pictures.borrow().clone();
    end.map(|end| (end, picture))
}

async fn converged(until: Option<Until>, at_least: usize, mut pictures: watch::Receiver<Picture>) {
    let Some(Until::Converged) = until else { return std::future::pending().await };
    if pictures.wait_for(|picture| picture.is_converged(at_least)).await.is_err() {
        // Nobody draws any more: the end is near for another reason.
        std::future::pending::<()>().await;
    }
}

async fn timeout(until: Option<Until>, timeout: SignedDuration) {
    match until {
        Some(Until::Converged) => {
            tokio::time::sleep(Duration::try_from(timeout).unwrap_or(Duration::ZERO)).await
        }
        None => std::future::pending().await,
    }
}

fn say_ready(arguments: &UpArguments, desired: &Desired, state: &State, parts: &Parts, printer: Printer) {
    let kubeconfig = state.file(places::KUBECONFIG);
    let (api, gateway) = (parts.api_url(), parts.gateway_url());
    match arguments.output {
        Output::Json => {
            printer.json(&json!({"ready": true, "kubeconfig": kubeconfig, "api": api, "gateway": gateway}));
        }
        Output::Text => {
            let config = kubeconfig.display();
            printer.line(format!(
                "Muster follows {}, in namespace {}.",
                desired.shown(),
                arguments.namespace
            ));
            printer.line(format!("  kubectl --kubeconfig {config} get fm,act,pb,kb,mw,br"));
            let named =
                if arguments.state_dir.is_some() { format!(" --kubeconfig {config}") } else { String::new() };
            printer.line(format!("  muster status{named}    muster why{named} MACHINE"));
            printer.line(format!(
                "  Agents find it at {gateway}; `muster enroll{named}` prints the command for a machine."
            ));
            printer.line("  Ctrl-C ends it; its state stays, and the next start goes on from there.");
        }
    }
}

fn say_end(
    arguments: &UpArguments,
    end: &End,
    picture: &Picture,
    took: Duration,
    printer: Printer,
) -> ExitStatus {
    let at_least = usize::try_from(arguments.simulate.unwrap_or(0)).expect("a u32 fits");
    let seconds = (took.as_secs_f64() * 10.0).round() / 10.0;
    let Picture { converged, admitted, .. } = picture;
    match (end, arguments.output) {
        (End::Signal, _) => ExitStatus::Done,
        (End::Converged, Output::Json) => {
            printer.json(&json!({"converged": true, "machines": admitted, "seconds": seconds}));
            ExitStatus::Done
        }
        (End::Converged, Output::Text) => {
            printer.line(format!("{converged} of {admitted} machines converged in {seconds} s"));
            ExitStatus::Done
        }
        (End::TimedOut, output) => {
            let reasons = picture.obstacles(at_least);
            match output {
                Output::Json => printer.json(&json!({
                    "converged": false, "machines": admitted, "convergedMachines": converged, "seconds": seconds,
                    "reasons": reasons,
                })),
                Output::Text => {
                    printer.line(format!("{converged} of {admitted} machines converged after {seconds} s; not yet:"));
                    reasons.iter().for_each(|reason| printer.line(format!("  {reason}")));
                }
            }
            ExitStatus::TimedOut
        }
    }
}
