//! What is wrong with a revision, and where: every problem, in order, with an honest total (rule G1).

use serde::Serialize;

/// How many problems of one revision are kept; the rest is counted.
///
/// A person mends the first few and looks again; a broken template makes thousands of equal ones.
pub const MAX_PROBLEMS: usize = 1000;

/// How long a problem's message may be, in bytes: what an event's note can hold, with room for the place.
const MAX_MESSAGE_BYTES: usize = 900;

/// One thing that is wrong with a revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, relative to the source's root.
    pub file: String,
    /// The line, from 1; 0 where there is none.
    pub line: u32,
    /// The column, from 1; 0 where there is none.
    pub column: u32,
    /// The field's path inside the resource; empty where it is about all of it.
    pub field: String,
    /// The rule that it breaks, as in `V1`; empty for plain form.
    pub rule: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, column, field, rule, message } = self;
        f.write_str(file)?;
        if *line > 0 {
            write!(f, ":{line}")?;
            if *column > 0 {
                write!(f, ":{column}")?;
            }
        }
        if !field.is_empty() {
            write!(f, ": {field}")?;
        }
        write!(f, ": {message}")?;
        if !rule.is_empty() {
            write!(f, " ({rule})")?;
        }
        Ok(())
    }
}

/// Problems as they are found.
#[derive(Debug, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    total: usize,
}

impl Problems {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; beyond [`MAX_PROBLEMS`] it is only counted.
    pub fn push(&mut self, mut problem: Problem) {
        self.total += 1;
        if self.kept.len() == MAX_PROBLEMS {
            return;
        }
        if problem.message.len() > MAX_MESSAGE_BYTES {
            let cut = problem.message.floor_char_boundary(MAX_MESSAGE_BYTES);
            problem.message.truncate(cut);
            problem.message.push('…');
        }
        self.kept.push(problem);
    }

    /// How many there are in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The kept ones, by place, and how many there are in all.
    #[must_use]
    pub fn into_sorted(mut self) -> (Vec<Problem>, usize) {
        self.kept.sort();
        (self.kept, self.total)
    }
}
