//! Phased updates: Ubuntu offers an update to a growing share of machines, and each machine's apt draws whether it is one
//! of them. The draw is the same arithmetic as apt's, bit by bit (rule V2), so that nothing is planned that apt itself
//! would keep back.
//!
//! Deliberately not here: which versions are exempt; the planner knows what is installed.

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

/// The highest draw; an update whose percentage is this is everybody's.
pub const PHASED_IN: u8 = 100;

/// How many draws a report has at most. Ubuntu phases some thirty sources at a time.
///
/// A version whose draw is not in the report waits until it is everybody's: late, never early.
pub const MAX_PHASING_DRAWS: usize = 64;

/// That a version on offer is not everybody's yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Phased {
    /// The share of machines that are to have it by now, from 0 to 99.
    pub percentage: u8,
    /// The source package, whose binaries are phased together.
    pub source: SmolStr,
    /// The source package's version.
    pub source_version: SmolStr,
}

impl Phased {
    /// Under which a machine's report has its draw.
    #[must_use]
    pub fn key(&self) -> SmolStr {
        format_smolstr!("{} {}", self.source, self.source_version)
    }
}

/// What a machine draws for one version of a source package: the machine takes the update where this is not above the
/// percentage. From 0 to 100.
///
/// apt seeds `std::minstd_rand` with a `std::seed_seq` over the bytes of `<source>-<version>-<machine-id>` and asks
/// `std::uniform_int_distribution` for one number from 0 to 100; GNU's library does that as below on every architecture.
#[must_use]
pub fn phasing_draw(source: &str, version: &str, machine_id: &str) -> u8 {
    const HIGHEST: u64 = 100;
    const RANGE: u64 = MODULUS - 2;
    let scaling = RANGE / (HIGHEST + 1);
    let text = format!("{source}-{version}-{machine_id}");
    let mut state = u64::from(seed(text.as_bytes())) % MODULUS;
    if state == 0 {
        state = 1;
    }
    loop {
        state = state * MULTIPLIER % MODULUS;
        let drawn = (state - 1) / scaling;
        if drawn <= HIGHEST {
            return u8::try_from(drawn).expect("it is at most 100");
        }
    }
}

/// `std::minstd_rand`.
const MULTIPLIER: u64 = 48_271;
const MODULUS: u64 = 2_147_483_647;

/// How many words a linear congruential engine of 32 bits asks its seed sequence for; it takes the last.
const WORDS: usize = 4;

/// What `std::seed_seq` of these bytes gives an engine of 32 bits ([rand.util.seedseq] of the standard, for four words).
fn seed(bytes: &[u8]) -> u32 {
    // Of so few words the standard's t is 1, p is 1 and q is 2.
    const FIRST: usize = 1;
    const SECOND: usize = 2;
    let mut words = [0x8b8b_8b8b_u32; WORDS];
    let rounds = WORDS.max(bytes.len() + 1);
    let word = |place: usize| u32::try_from(place).expect("a package's name and version are short");
    let mixed = |mixed: u32| mixed ^ (mixed >> 27);
    for round in 0..rounds {
        let (here, before) = (round % WORDS, (round + WORDS - 1) % WORDS);
        let (first, second) = ((round + FIRST) % WORDS, (round + SECOND) % WORDS);
        let one = 1_664_525_u32.wrapping_mul(mixed(words[here] ^ words[first] ^ words[before]));
        let more = match round {
            0 => word(bytes.len()),
            round if round <= bytes.len() => word(here).wrapping_add(u32::from(bytes[round - 1])),
            _ => word(here),
        };
        let two = one.wrapping_add(more);
        words[first] = words[first].wrapping_add(one);
        words[second] = words[second].wrapping_add(two);
        words[here] = two;
    }
    for round in rounds..rounds + WORDS {
        let (here, before) = (round % WORDS, (round + WORDS - 1) % WORDS);
        let (first, second) = ((round + FIRST) % WORDS, (round + SECOND) % WORDS);
        let sum = words[here].wrapping_add(words[first]).wrapping_add(words[before]);
        let one = 1_566_083_941_u32.wrapping_mul(mixed(sum));
        let two = one.wrapping_sub(word(here));
        words[first] ^= one;
        words[second] ^= two;
        words[here] = two;
    }
    words[WORDS - 1]
}
