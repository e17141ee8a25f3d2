//! Why a request is not answered, in the words of the protocol.

use muster_wire::{ErrorBody, Reason};

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// Which of the closed set.
    pub(crate) reason: Reason,
    /// What is wrong and what to do; nothing secret, and nothing of another machine.
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    pub(crate) fn not_yours(message: impl Into<String>) -> Self {
        Self::new(Reason::NotYours, message)
    }

    pub(crate) fn revoked() -> Self {
        Self::new(
            Reason::Revoked,
            "this machine is not one of the fleet any more; enrol it anew if that is wanted",
        )
    }

    /// The Kubernetes API failed: the agent tries again, the details go to the log.
    pub(crate) fn unavailable(doing: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(doing, error, "the Kubernetes API failed; the agent is told to try again");
        Self::new(Reason::Unavailable, format!("the gateway could not finish {doing}; try again later"))
    }

    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody { reason: self.reason.as_str().to_owned(), message: self.message.clone() }
    }
}
