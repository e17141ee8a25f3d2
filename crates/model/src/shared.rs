//! Values that many hold: what a hundred twins report of themselves is there once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value behind a pointer that its holders share. It reads as the value itself; who changes it changes a copy of their own.
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Holds what the pool holds already, if that is equal.
    pub fn pool(&mut self, pool: &mut Pool<T>)
    where
        T: Ord,
    {
        self.pool_if(pool, |_, _| true);
    }

    /// Holds what the pool holds already, if that is equal, and alike in what equality does not see: `1.0` and `0:1.0` are
    /// the same version, and apt is told the one that is written.
    pub fn pool_if(&mut self, pool: &mut Pool<T>, is_alike: impl Fn(&T, &T) -> bool)
    where
        T: Ord,
    {
        pool.pool_if(&mut self.0, is_alike);
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for Shared<BTreeSet<T>> {
    fn from(all: [T; N]) -> Self {
        BTreeSet::from(all).into()
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Shared<BTreeMap<K, V>> {
    fn from(all: [(K, V); N]) -> Self {
        BTreeMap::from(all).into()
    }
}

impl<A, T: FromIterator<A>> FromIterator<A> for Shared<T> {
    fn from_iter<I: IntoIterator<Item = A>>(all: I) -> Self {
        T::from_iter(all).into()
    }
}

impl<'a, T> IntoIterator for &'a Shared<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (**self).into_iter()
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: PartialOrd> PartialOrd for Shared<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.0.partial_cmp(&other.0)
    }
}

impl<T: Ord> Ord for Shared<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

/// Values that somebody holds, each once.
#[derive(Debug)]
pub struct Pool<T> {
    all: BTreeSet<Arc<T>>,
    /// So many may be there before it is looked which of them nobody holds any more.
    room: usize,
}

/// The least that is looked through: less is not worth it.
const ROOM: usize = 64;

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { all: BTreeSet::new(), room: ROOM }
    }
}

impl<T: Ord> Pool<T> {
    /// Makes it the one that is held already, if one is that is equal.
    pub fn pool(&mut self, value: &mut Arc<T>) {
        self.pool_if(value, |_, _| true);
    }

    fn pool_if(&mut self, value: &mut Arc<T>, is_alike: impl Fn(&T, &T) -> bool) {
        if let Some(known) = self.all.get(value) {
            if is_alike(known, value) {
                *value = known.clone();
            }
            return;
        }
        // Looking costs what came since it was looked last.
        if self.all.len() >= self.room {
            self.all.retain(|known| Arc::strong_count(known) > 1);
            self.room = ROOM.max(self.all.len() * 2);
        }
        self.all.insert(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_changes_a_shared_value_changes_a_copy() {
        let one: Shared<Vec<u8>> = [1, 2].into_iter().collect();
        let mut other = one.clone();
        other.push(3);
        assert_eq!((&*one, &*other), (&vec![1, 2], &vec![1, 2, 3]));
        assert_eq!(serde_json::to_string(&other).unwrap(), "[1,2,3]");
        assert_eq!(serde_json::from_str::<Shared<Vec<u8>>>("[1,2,3]").unwrap(), other);
    }

    #[test]
    fn what_is_equal_is_held_once_and_what_nobody_holds_goes() {
        let mut pool = Pool::default();
        let mut held: Vec<Shared<usize>> = Vec::new();
        for number in 0..10_000 {
            let mut value = Shared::from(number % 100);
            value.pool(&mut pool);
            held.push(value);
        }
        assert_eq!(pool.all.len(), 100);
        held.clear();
        (100..100 + 2 * ROOM).for_each(|number| Shared::from(number).pool(&mut pool));
        assert!(pool.all.len() <= ROOM, "{} are held", pool.all.len());
    }
}
