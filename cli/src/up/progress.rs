//! Progress for whoever started `muster up`: a bar on a terminal, otherwise a line when the totals changed, at most
//! one in a second. With `-o json` there is none.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::picture::Picture;
use crate::arguments::Output;
use crate::commands::short;
use crate::printer::Printer;

/// Lines are at least so far apart.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// How many groups of machines are shown.
const REASONS_SHOWN: usize = 4;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A bar and a few lines below it, redrawn.
    Live,
    /// Line after line.
    Lines,
    /// Not at all.
    Silent,
}

impl Style {
    /// What fits the output.
    pub(super) fn of(output: Output) -> Self {
        match output {
            Output::Json => Self::Silent,
            Output::Text if std::io::stdout().is_terminal() => Self::Live,
            Output::Text => Self::Lines,
        }
    }
}

/// Shows pictures until it is dropped.
pub(super) async fn show(style: Style, pictures: watch::Receiver<Picture>, printer: Printer) {
    match style {
        Style::Live => live(pictures).await,
        Style::Lines => lines(pictures, printer).await,
        Style::Silent => std::future::pending().await,
    }
}

async fn lines(mut pictures: watch::Receiver<Picture>, printer: Printer) {
    let mut shown = Picture::default();
    let mut next = Instant::now();
    while pictures.changed().await.is_ok() {
        sleep_until(next).await;
        let picture = pictures.borrow_and_update().clone();
        let errors = &picture.source.errors;
        if *errors != shown.source.errors {
            errors.iter().for_each(|error| printer.line(error));
        }
        if totals(&picture) != totals(&shown) {
            printer.line(totals(&picture));
            next = Instant::now() + LINE_EVERY;
        }
        shown = picture;
    }
}

/// The totals on one line.
pub(super) fn totals(picture: &Picture) -> String {
    let Picture { machines, admitted, converged, verdicts, in_flight, source, .. } = picture;
    let mut text = format!("{converged}/{admitted} converged");
    for (verdict, count) in verdicts.iter().filter(|(verdict, _)| *verdict != "Converged") {
        text += &format!(", {count} {}", verdict.to_lowercase());
    }
    if machines > admitted {
        text += &format!(", {} not admitted", machines - admitted);
    }
    if *in_flight > 0 {
        text += &format!("; {in_flight} activities");
    }
    match (&source.revision, source.ready) {
        (Some(revision), true) => text + &format!("; at {}", short(revision)),
        (_, _) => text + &format!("; source: {}", source.state),
    }
}

async fn live(mut pictures: watch::Receiver<Picture>) {
    let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(5));
    let style = ProgressStyle::with_template("[{bar:40.green}] {pos}/{len} converged")
        .expect("the template is a constant");
    let bar = screen.add(ProgressBar::new(0).with_style(style.progress_chars("=> ")));
    let text = ProgressStyle::with_template("{msg}").expect("the template is a constant");
    let below = screen.add(ProgressBar::new(0).with_style(text));
    loop {
        let picture = pictures.borrow_and_update().clone();
        bar.set_length(u64::try_from(picture.admitted).unwrap_or(u64::MAX));
        bar.set_position(u64::try_from(picture.converged).unwrap_or(u64::MAX));
        below.set_message(details(&picture));
        if pictures.changed().await.is_err() {
            return;
        }
    }
}

/// What stands below the bar.
fn details(picture: &Picture) -> String {
    let mut lines = vec![totals(picture)];
    if let Some((at, window)) = &picture.next_window {
        lines.push(format!("window {window} opens at {at}"));
    }
    lines.extend(picture.reasons.iter().take(REASONS_SHOWN).map(|reason| format!("  {reason}")));
    if picture.reasons.len() > REASONS_SHOWN {
        lines.push(format!(
            "  and {} other reasons; `muster status` has more",
            picture.reasons.len() - REASONS_SHOWN
        ));
    }
    lines.extend(picture.source.errors.iter().map(|error| format!("! {error}")));
    if !picture.changes.is_empty() {
        lines.push(format!(
            "last: {}",
            picture.changes.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::picture::SourcePicture;

    #[test]
    fn totals_are_one_line() {
        let picture = Picture {
            machines: 21,
            admitted: 20,
            converged: 12,
            verdicts: [("Converged".to_owned(), 12), ("Active".to_owned(), 5), ("Waiting".to_owned(), 4)]
                .into(),
            in_flight: 5,
            source: SourcePicture {
                ready: true,
                revision: Some("folder@sha256:0123456789abcdef".to_owned()),
                ..SourcePicture::default()
            },
            ..Picture::default()
        };
        assert_eq!(
            totals(&picture),
            "12/20 converged, 5 active, 4 waiting, 1 not admitted; 5 activities; at folder@sha256:0123456789ab"
        );
    }
}
