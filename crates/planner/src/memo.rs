//! What is worked out once for all that ask for the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Answers by what they follow from.
#[derive(Debug)]
pub(crate) struct Memo<K, T>(RefCell<BTreeMap<K, Rc<T>>>);

impl<K, T> Default for Memo<K, T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Ord, T> Memo<K, T> {
    /// The answer; `make`, where it is asked for the first time.
    pub(crate) fn of(&self, key: K, make: impl FnOnce(&K) -> T) -> Rc<T> {
        if let Some(known) = self.0.borrow().get(&key) {
            return known.clone();
        }
        let made = Rc::new(make(&key));
        self.0.borrow_mut().insert(key, made.clone());
        made
    }
}
