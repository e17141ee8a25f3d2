//! A value and what it was shortly before: whoever decided may not have seen the change yet.

use jiff::SignedDuration;
use muster_model::Instant;

/// How many earlier versions are kept at most.
const VERSIONS: usize = 16;

/// The versions of one thing, oldest first; `None`: it was not there.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    versions: Vec<(Instant, Option<T>)>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { versions: Vec::new() }
    }
}

impl<T: PartialEq> Kept<T> {
    /// From now on it is so. What it is already was told again: a revision that changes nothing about it is no edit.
    pub(crate) fn set(&mut self, now: Instant, value: Option<T>, lag: SignedDuration) {
        if self.versions.last().is_some_and(|(_, known)| *known == value) {
            return;
        }
        self.versions.push((now, value));
        // What ended before anybody could still believe in it is forgotten.
        let ended = self.versions.windows(2).filter(|pair| pair[1].0 < now - lag).count();
        let ended = if lag.is_zero() { self.versions.len() - 1 } else { ended };
        self.versions.drain(..ended.max(self.versions.len().saturating_sub(VERSIONS)));
    }
}

impl<T> Kept<T> {
    /// As it is.
    pub(crate) fn now(&self) -> Option<&T> {
        self.versions.last().and_then(|(_, value)| value.as_ref())
    }

    /// Since when it is as it is.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.versions.last().map(|(since, _)| *since)
    }

    /// What somebody may take it for at `at` who sees the world up to `lag` late.
    pub(crate) fn possible(&self, at: Instant, lag: SignedDuration) -> Vec<Option<&T>> {
        let ends = self.versions.iter().skip(1).map(|(since, _)| Some(*since)).chain([None]);
        let alive = self
            .versions
            .iter()
            .zip(ends)
            .filter(|(_, end)| end.is_none_or(|end| end > at - lag && !lag.is_zero()));
        let mut values: Vec<Option<&T>> = alive.map(|((_, value), _)| value.as_ref()).collect();
        // Before its first version it was not there.
        if values.is_empty()
            || self.versions.first().is_some_and(|(since, _)| *since > at - lag) && !lag.is_zero()
        {
            values.push(None);
        }
        values
    }
}
