//! What a journal is told, and what it wants done.

use muster_model::{ActivityName, OutcomeReason, Phase, StepAction, Uid, UnitName};
use smol_str::SmolStr;

use crate::{Moment, Offer, Progress};

/// Something that happened. What does not concern the present step or activity is ignored: answers may come late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The gateway offers an activity. One that is known is ignored while it is unfinished or unreported; one that
    /// was carried out, or is not newer than that, is refused (style 4).
    Offered(Box<Offer>),
    /// A cancel of the activity was asked for (rule A5).
    CancelAsked {
        /// Which.
        uid: Uid,
    },
    /// The gateway has the progress of that phase.
    Acknowledged {
        /// Of which activity.
        uid: Uid,
        /// The phase that was reported.
        phase: Phase,
    },
    /// The gateway does not know the activity as this machine's any more: nothing more of it is begun.
    Rejected {
        /// Which.
        uid: Uid,
        /// In its words.
        message: String,
    },
    /// The answer to [`Next::Prepare`]: nothing was changed either way.
    Prepared {
        /// Which step.
        step: usize,
        /// `Err`: why it must not be done.
        result: Result<(), (OutcomeReason, String)>,
    },
    /// The answer to [`Next::AskMayStart`].
    MayStart {
        /// Which step.
        step: usize,
        /// Whether it may; if not, why.
        allowed: Result<(), OutcomeReason>,
    },
    /// The answer to [`Next::Act`]: the action was issued (not: done).
    Issued {
        /// Which step.
        step: usize,
    },
    /// The answer to [`Next::Act`]: issuing it failed; whether something was begun is to be observed.
    IssueFailed {
        /// Which step.
        step: usize,
    },
    /// The answer to [`Next::Observe`].
    Observed {
        /// Which step.
        step: usize,
        /// What was seen.
        observation: Observation,
    },
    /// Time passed while an answer could not be had: is it too late to begin?
    Waited,
    /// The answer to [`Next::WatchHealth`].
    Health {
        /// Units that are not active, but may still become so.
        starting: Vec<UnitName>,
        /// Units that gave up.
        failed: Vec<UnitName>,
    },
}

/// What was seen of a step's effect: the machine's state, never an exit code (promise P5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It is still going on.
    Running,
    /// The state is as the step wanted.
    Done,
    /// It never began, or died before it changed anything: it may be issued again.
    NotDone {
        /// Why, as far as it can be told.
        reason: OutcomeReason,
        /// In words.
        message: String,
    },
    /// It ran to its end and changed nothing: issuing it again would not help.
    Unchanged {
        /// Why, as far as it can be told.
        reason: OutcomeReason,
        /// In words.
        message: String,
    },
    /// It is over, and the state is neither as before nor as wanted.
    Failed {
        /// Why.
        reason: OutcomeReason,
        /// What was wanted and what is.
        message: String,
    },
    /// For a reboot: what runs now, and is not about to go down ([`Observation::Running`] is). The journal knows the boot
    /// ids.
    Booted {
        /// The release, as `uname -r` says it.
        release: SmolStr,
        /// Its command line, as /proc/cmdline says it.
        command_line: SmolStr,
    },
}

/// What to do now, once; its answer is the [`Input`] of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: wait for an offer.
    Idle,
    /// Simulate, check, download: everything about the step that changes nothing.
    Prepare {
        /// Which step.
        step: usize,
        /// What it does.
        action: StepAction,
    },
    /// Tell the gateway. Before the first step acts this must be acknowledged, since an activity that the gateway
    /// takes for not begun frees its place in the budgets when it expires (rule A4); the final one is kept until it is.
    Report(Progress),
    /// Ask the gateway for its fresh word (rule W6): just before each attempt.
    AskMayStart {
        /// Of which activity.
        name: ActivityName,
        /// Its uid.
        uid: Uid,
        /// Which step.
        step: usize,
    },
    /// Issue the action: the intent is recorded.
    Act {
        /// Of which activity.
        uid: Uid,
        /// Which step.
        step: usize,
        /// What to do.
        action: StepAction,
        /// From 1; above 1 only where observation said that the attempt before changed nothing.
        attempt: u32,
    },
    /// Look at what became of it; again after a moment while it is [`Observation::Running`].
    Observe {
        /// Of which activity.
        uid: Uid,
        /// Which step.
        step: usize,
        /// What was to be done.
        action: StepAction,
        /// The attempt, from 1.
        attempt: u32,
        /// When it was meant to begin.
        intent: Moment,
    },
    /// Look whether these units are active; again each second.
    WatchHealth {
        /// The units.
        units: Vec<UnitName>,
    },
}
