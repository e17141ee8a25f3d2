//! The words of a story's line.

use jiff::SignedDuration;
use muster_model::{GoDuration, LabelSelector, LabelTest};
use smol_str::SmolStr;

/// The words of a line's head: the noun, a name, flags, and options with a value each.
pub(crate) struct Words<'a> {
    pub(crate) words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { words: text.split_whitespace().collect() }
    }

    pub(crate) fn at(&self, place: usize) -> &'a str {
        self.words[place]
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.words.contains(&flag)
    }

    pub(crate) fn value(&self, option: &str) -> Option<&'a str> {
        let place = self.words.iter().position(|word| *word == option)?;
        Some(self.words[place + 1])
    }

    pub(crate) fn length(&self, option: &str) -> SignedDuration {
        self.value(option).map_or(SignedDuration::ZERO, length)
    }

    pub(crate) fn selector(&self) -> LabelSelector {
        let terms = self.value("on").into_iter().flat_map(|on| on.split(',')).map(|term| {
            let (key, value) = term.split_once('=').unwrap();
            (SmolStr::new(key), LabelTest::Is(SmolStr::new(value)))
        });
        LabelSelector::new(terms).unwrap()
    }
}

/// `90s`, `1h30m`.
pub(crate) fn length(text: &str) -> SignedDuration {
    GoDuration::parse(text).unwrap().length()
}
