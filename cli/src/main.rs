//! `muster`: runs Muster on one machine, and asks it questions. Also `kubectl muster`.
//!
//! A command is a function of its arguments in `commands/`; what it prints goes through [`printer`], how it ends is an
//! [`exit::ExitStatus`]. `up` alone starts servers, from `up/`. Deliberately not here: any decision about machines.

mod arguments;
mod commands;
mod connect;
mod exit;
mod foresee;
mod logs;
mod places;
mod plan;
mod printer;
mod signals;
mod simulate;
mod up;
mod view;
mod waits;
mod world;

use std::process::ExitCode;

use clap::Parser as _;
use muster_model::ApprovalAction;

use crate::arguments::{Arguments, Command, StateCommand};
use crate::exit::{ExitStatus, FAILURE};
use crate::printer::Printer;

/// Thousands of machines are many small allocations of all threads: see dependencies.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell if that fails.
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::Usage.into() } else { ExitStatus::Done.into() };
        }
    };
    // Fails only if it was installed already, which is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(arguments.command) {
        Ok(status) => status.into(),
        Err(error) => {
            Printer.note(explain(&error));
            ExitCode::from(FAILURE)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let printer = Printer;
        anyhow::Ok(match command {
            Command::Up(arguments) => commands::up(arguments, printer).await?,
            Command::Why(arguments) => commands::why(&arguments, printer).await?,
            Command::Status(arguments) => commands::status(&arguments, printer).await?,
            Command::Validate(arguments) => commands::validate(&arguments, printer)?,
            Command::Check(arguments) => commands::check(&arguments, printer)?,
            Command::Resolve(arguments) => commands::resolve(&arguments, printer).await?,
            Command::Retry(arguments) => commands::retry(&arguments, printer).await?,
            Command::Pause(arguments) => commands::word(&arguments, ApprovalAction::Pause, printer).await?,
            Command::Resume(arguments) => commands::word(&arguments, ApprovalAction::Resume, printer).await?,
            Command::Approve(arguments) => {
                commands::word(&arguments, ApprovalAction::Approve, printer).await?
            }
            Command::Enroll(arguments) => commands::enroll(&arguments, printer).await?,
            Command::Plan(arguments) => commands::plan(&arguments, printer).await?,
            Command::Simulate(arguments) => commands::simulate(&arguments, printer).await?,
            Command::Windows(arguments) => commands::windows(&arguments, printer)?,
            Command::State(StateCommand::Export(arguments)) => {
                commands::state_export(&arguments, printer).await?
            }
            Command::Export(arguments) => commands::export(&arguments, printer).await?,
            Command::Controller(arguments) => commands::controller(arguments, printer).await?,
            Command::Gateway(arguments) => commands::gateway(arguments, printer).await?,
        })
    });
    // What still runs by now has been told to end, and was given its time.
    runtime.shutdown_background();
    status
}

/// The error and each cause of it, once: some errors of libraries say their cause themselves.
fn explain(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text += &format!("\n  because: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::explain;

    #[test]
    fn an_error_that_says_its_cause_itself_is_not_followed_by_it() {
        let error = anyhow::anyhow!("no such character");
        let error = error.context("the request: no such character").context("cannot read machine a");
        assert_eq!(
            explain(&error),
            "error: cannot read machine a\n  because: the request: no such character"
        );
    }
}
