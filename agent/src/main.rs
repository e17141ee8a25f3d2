//! `muster-agent`: the command line of the agent.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use muster_agent::{AgentError, Enroll, STATE_DIR, Settings};
use muster_model::Digest;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// sysexits(3) EX_CONFIG: the unit does not start again by itself.
const NOT_ENROLLED: u8 = 78;

/// Reports this machine to its fleet and carries out what the fleet decides.
#[derive(Parser)]
#[command(name = "muster-agent", version)]
struct Arguments {
    /// Where the agent keeps its key, certificate and journal.
    #[arg(long, global = true, default_value = STATE_DIR)]
    state_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make this machine one of a fleet: the whole command is printed by `muster enroll`.
    Enroll {
        /// The gateway: host:port.
        #[arg(long)]
        gateway: String,
        /// SHA-256 of the fleet's root certificate, in hexadecimal.
        #[arg(long, value_parser = muster_agent::parse_root)]
        ca_sha256: Digest,
        /// The enrolment token.
        #[arg(long, env = "MUSTER_ENROLLMENT_TOKEN", hide_env_values = true)]
        token: String,
        /// The machine's name in the fleet; by default its host name.
        #[arg(long)]
        name: Option<String>,
        /// Only observe: never change this machine.
        #[arg(long)]
        observe: bool,
    },
    /// Run until ended by SIGTERM.
    Run {
        /// Only observe: never change this machine.
        #[arg(long)]
        observe: bool,
    },
    /// Print what would be reported, as JSON.
    Report,
    /// Run one program and keep its result: what the agent starts in a unit of its own.
    #[command(hide = true)]
    Act {
        /// Where its mark and result go.
        #[arg(long)]
        base: PathBuf,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-agent: {error:#}");
            let is_not_enrolled = matches!(error.downcast_ref(), Some(AgentError::NotEnrolled));
            ExitCode::from(if is_not_enrolled { NOT_ENROLLED } else { 1 })
        }
    }
}

fn start(Arguments { state_dir, command }: Arguments) -> anyhow::Result<()> {
    if let Command::Act { base, program } = &command {
        return Ok(muster_agent::act(base, program)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Enroll { gateway, ca_sha256, token, name, observe } => {
                let how = Enroll { gateway, root: ca_sha256, token, name, observe };
                let enrolment = muster_agent::enroll(&state_dir, &how).await?;
                println!("enrolled as {}/{}", enrolment.namespace, enrolment.name);
                Ok(())
            }
            Command::Run { observe } => {
                let stop = CancellationToken::new();
                let (mut terminate, mut interrupt) =
                    (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
                let trigger = stop.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                    trigger.cancel();
                });
                Ok(muster_agent::run(&Settings { directory: state_dir, observe }, stop).await?)
            }
            Command::Report => {
                let value = muster_agent::describe(false).await?;
                println!("{}", serde_json::to_string_pretty(&value)?);
                Ok(())
            }
            Command::Act { .. } => unreachable!("done above"),
        }
    })
}
