//! Sums of what many machines share: what changes hands is counted once for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// By how many machines each shared thing is to be counted in or out.
pub(crate) struct Net<T>(BTreeMap<*const T, (Arc<T>, usize, usize)>);

impl<T: PartialEq> Net<T> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// One machine has `new` in place of `old`.
    pub(crate) fn change(&mut self, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        let same = match (old, new) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same {
            return;
        }
        if let Some(old) = old {
            self.of(old).2 += 1;
        }
        if let Some(new) = new {
            self.of(new).1 += 1;
        }
    }

    fn of(&mut self, shared: &Arc<T>) -> &mut (Arc<T>, usize, usize) {
        self.0.entry(Arc::as_ptr(shared)).or_insert_with(|| (shared.clone(), 0, 0))
    }

    /// What is to be counted in, by how many, and then what is to be counted out.
    pub(crate) fn apply<S>(
        self,
        sums: &mut S,
        add: impl Fn(&mut S, &T, usize),
        take: impl Fn(&mut S, &T, usize),
    ) {
        let all: Vec<(Arc<T>, usize, usize)> = self.0.into_values().collect();
        all.iter()
            .filter(|(_, more, less)| more > less)
            .for_each(|(one, more, less)| add(sums, one, more - less));
        all.iter()
            .filter(|(_, more, less)| less > more)
            .for_each(|(one, more, less)| take(sums, one, less - more));
    }
}
