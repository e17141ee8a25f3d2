//! The event log, where it is wanted: what goes into fleet and what comes out of it, in the order in which it does.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use muster_checker::event::Event;
use muster_fleet::{Effect, Input, State};
use muster_recorder::Recorder;

/// Where events go.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// Gives each event to `take`, which must not wait: the controller does not go on meanwhile.
    pub fn new(take: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
    }
}

/// Fleet's step, overheard; without a sink it costs nothing.
pub(crate) struct Tap {
    overhears: Option<(Recorder, EventSink)>,
    epoch: u64,
}

impl Tap {
    /// For one epoch.
    pub(crate) fn new(sink: Option<&EventSink>, identity: &str, epoch: u64) -> Self {
        let overhears = sink.map(|sink| {
            let mut recorder = Recorder::new(identity);
            recorder.leads(Timestamp::now(), epoch).into_iter().for_each(|event| (sink.0)(event));
            (recorder, sink.clone())
        });
        Self { overhears, epoch }
    }

    /// One step of fleet.
    pub(crate) fn step(&mut self, state: &mut State, input: Input) -> Vec<Effect> {
        let Some((recorder, sink)) = &mut self.overhears else { return muster_fleet::step(state, input) };
        let now = match &input {
            Input::Pass(now) | Input::Written { now, .. } => *now,
            Input::Observed(_) => Timestamp::now(),
        };
        recorder.input(now, &input).into_iter().for_each(|event| (sink.0)(event));
        let effects = muster_fleet::step(state, input);
        recorder.effects(now, &effects).into_iter().for_each(|event| (sink.0)(event));
        effects
    }

    /// The epoch is over.
    pub(crate) fn ends(&mut self) {
        if let Some((recorder, sink)) = &mut self.overhears {
            recorder.lost(Timestamp::now(), self.epoch).into_iter().for_each(|event| (sink.0)(event));
        }
    }
}
