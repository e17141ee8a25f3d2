//! The machines that `muster up` brings along: fake ones, and this host, observing only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use kube::api::DeleteParams;
use kube::{Api, Client};
use muster_agent::{AgentError, Enroll, Settings};
use muster_crds::{Admit, EnrollmentToken};
use muster_model::Digest;
use muster_sim::machines::{FakeFleet, Options, StartError, labels_of};
use tokio_util::sync::CancellationToken;

use super::state::{State, StateError};
use crate::arguments::UpArguments;
use crate::commands::{EnrollError, TokenWish, new_token, random_name};
use crate::connect::is_missing;

/// How long the tokens made here are good: they are used at once.
const TOKEN_VALIDITY: SignedDuration = SignedDuration::from_hours(1);

/// Why the machines did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachinesError {
    /// The state directory fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// No token.
    #[error(transparent)]
    Token(#[from] EnrollError),
    /// The agent's own state directory.
    #[error("cannot use the state of this host's agent")]
    AgentState(#[from] muster_agent::StateError),
    /// This host cannot be enrolled.
    #[error("cannot enrol this host")]
    Enroll(#[from] muster_agent::EnrollError),
    /// This host's agent.
    #[error("the agent of this host ended")]
    Agent(#[from] AgentError),
    /// A token of an earlier start cannot be removed.
    #[error("cannot remove the token {name} of an earlier start")]
    OldToken {
        /// Its name.
        name: String,
        source: Box<kube::Error>,
    },
    /// Fake machines.
    #[error("cannot start the fake machines")]
    Fake(#[from] StartError),
    /// It ended without saying why.
    #[error("the agent of this host ended by itself; the log says more")]
    Ended,
}

/// What machines need to know of the fleet.
pub(super) struct Fleet {
    /// May make tokens.
    pub(super) client: Client,
    pub(super) namespace: String,
    /// The gateway, `host:port`.
    pub(super) gateway: String,
    /// What agents pin.
    pub(super) root: Digest,
}

/// Runs them until this is dropped, or one of them cannot go on.
pub(super) async fn run(arguments: &UpArguments, state: &State, fleet: &Fleet) -> MachinesError {
    let fake = async {
        match arguments.simulate.unwrap_or(0) {
            0 => std::future::pending().await,
            count => fake(arguments, count, state, fleet).await,
        }
    };
    let this_host = async {
        if arguments.this_host { this_host(state, fleet).await } else { std::future::pending().await }
    };
    let ended = tokio::select! {
        ended = fake => ended,
        ended = this_host => ended,
    };
    ended.err().unwrap_or(MachinesError::Ended)
}

/// Fake machines, through the real gateway. They end, as by a power cut, when this is dropped.
async fn fake(
    arguments: &UpArguments,
    count: u32,
    state: &State,
    fleet: &Fleet,
) -> Result<(), MachinesError> {
    let tokens = tokens(count, fleet).await?;
    let options = Options {
        count,
        seed: arguments.seed,
        step: Duration::try_from(arguments.sim_step).unwrap_or(Duration::ZERO),
        gateway: fleet.gateway.clone(),
        root: fleet.root.clone(),
        token: Arc::new(move |n| tokens.get(&labels_of(n)).cloned().unwrap_or_default()),
        state_dir: state.folder("machines")?,
    };
    let _fleet = FakeFleet::start(options)?;
    std::future::pending().await
}

/// The secret of a token for each set of labels: labels come from tokens only, for fake machines too.
async fn tokens(
    count: u32,
    fleet: &Fleet,
) -> Result<HashMap<BTreeMap<String, String>, String>, MachinesError> {
    let mut machines: BTreeMap<BTreeMap<String, String>, u32> = BTreeMap::new();
    for n in 0..count {
        *machines.entry(labels_of(n)).or_default() += 1;
    }
    let api: Api<EnrollmentToken> = Api::namespaced(fleet.client.clone(), &fleet.namespace);
    let mut tokens = HashMap::new();
    for (labels, max_uses) in machines {
        let values: Vec<&str> = labels.values().map(String::as_str).collect();
        let name = format!("sim-{}", values.join("-"));
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(error) if is_missing(&error) => {}
            Err(source) => return Err(MachinesError::OldToken { name, source: Box::new(source) }),
        }
        let wish =
            TokenWish { labels: labels.clone(), max_uses, expires: TOKEN_VALIDITY, admit: Admit::Admitted };
        tokens.insert(labels, new_token(fleet.client.clone(), &fleet.namespace, name, &wish).await?);
    }
    Ok(tokens)
}

/// This machine, as its own agent would have it, but never changed by it.
async fn this_host(state: &State, fleet: &Fleet) -> Result<(), MachinesError> {
    let directory = state.folder("this-host")?;
    let agent = muster_agent::State::open(&directory)?;
    match agent.enrolment()? {
        Some(enrolment) if enrolment.gateway == fleet.gateway => {}
        Some(mut enrolment) => {
            // The gateway of this very state directory: it has moved to another port.
            enrolment.gateway.clone_from(&fleet.gateway);
            agent.save_enrolment(&enrolment)?;
        }
        None => {
            let wish = TokenWish {
                labels: Default::default(),
                max_uses: 1,
                expires: TOKEN_VALIDITY,
                admit: Admit::Admitted,
            };
            let token =
                new_token(fleet.client.clone(), &fleet.namespace, random_name("this-host"), &wish).await?;
            let (gateway, root) = (fleet.gateway.clone(), fleet.root.clone());
            muster_agent::enroll(&directory, &Enroll { gateway, root, token, name: None, observe: true })
                .await?;
        }
    }
    let stop = CancellationToken::new();
    let _ends_with_this = stop.clone().drop_guard();
    Ok(muster_agent::run(&Settings { directory, observe: true }, stop).await?)
}
