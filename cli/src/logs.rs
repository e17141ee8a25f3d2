//! Where logs go: standard error, or a file while a terminal shows the progress.

use std::fs::File;
use std::io::IsTerminal as _;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

/// What goes wrong, and what Muster itself thinks worth a line.
pub(crate) const TALKATIVE: &str = "warn,muster=info";

/// What goes wrong: for people, who have the progress beside it.
pub(crate) const QUIET: &str = "warn";

/// Lets logs go to the file, or to standard error; $RUST_LOG says which, and `default` without it. To be called once.
pub(crate) fn start(file: Option<File>, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let result = match file {
        Some(file) => builder.with_ansi(false).with_writer(Arc::new(file)).try_init(),
        None => builder.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).try_init(),
    };
    // Only a second call can fail, and then the first one's choice holds.
    debug_assert!(result.is_ok(), "logs are started once");
}
