//! Looking many things up in the order of their names: the next is mostly near the last, since twins are named alike.

use std::iter::Peekable;

/// So many steps are taken before a search from the root is worth it.
const STEPS: usize = 8;

/// Steps on to the first key that is not before `key`, if that is near; whether it is. What was looked up before must not come
/// after `key`.
pub(crate) fn comes_to<'a, K: Ord + 'a, V>(
    entries: &mut Peekable<impl Iterator<Item = (&'a K, V)>>,
    key: &K,
) -> bool {
    (0..STEPS).any(|_| entries.next_if(|(known, _)| *known < key).is_none())
}
