//! The objects of one resource and the ring of what happened to them lately: watches resume from the ring, and a
//! paged list stays consistent by undoing the ring's newer events.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::watch;

use crate::object::Stored;

/// Events remembered per resource.
///
/// A client that falls further behind relists; at 1,000 writes a second this is eight seconds, at the pace of a
/// converged fleet it is days.
const RING_EVENTS: usize = 8192;

/// Bytes of objects that only a ring keeps alive, per resource.
const RING_BYTES: usize = 16 << 20;

/// Something that happened.
#[derive(Debug)]
pub(crate) struct Event {
    /// Its resourceVersion.
    pub version: u64,
    /// Key of the object.
    pub key: Box<str>,
    /// The object before, if there was one.
    pub before: Option<Arc<Stored>>,
    /// The object after; its last state, if it was removed.
    pub object: Arc<Stored>,
    /// Was it removed?
    pub removed: bool,
}

/// That version is older than what the ring remembers.
#[derive(Debug)]
pub(crate) struct Expired {
    /// The oldest version from which one can go on.
    pub oldest: u64,
}

/// A part of a list.
pub(crate) struct Page {
    /// The list is as of this version.
    pub version: u64,
    /// In key order.
    pub items: Vec<Arc<Stored>>,
    /// The last key of this page, if there is more.
    pub next: Option<Box<str>>,
    /// How many keys come after `next`, selectors not applied.
    pub remaining: usize,
}

pub(super) struct Shelf {
    pub(super) objects: BTreeMap<Box<str>, Arc<Stored>>,
    pub(super) head: watch::Sender<u64>,
    ring: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Everything after this version is in the ring.
    oldest: u64,
}

impl Shelf {
    pub(super) fn new(base: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            head: watch::Sender::new(base),
            ring: VecDeque::new(),
            bytes: 0,
            oldest: base,
        }
    }

    /// Makes an event visible; the caller wakes the watchers after the whole batch.
    pub(super) fn publish(&mut self, event: Arc<Event>) {
        if event.removed {
            self.objects.remove(&event.key);
        } else {
            self.objects.insert(event.key.clone(), event.object.clone());
        }
        self.bytes += weight(&event);
        self.ring.push_back(event);
        while self.ring.len() > RING_EVENTS || self.bytes > RING_BYTES {
            let Some(dropped) = self.ring.pop_front() else { break };
            self.bytes -= weight(&dropped);
            self.oldest = dropped.version;
        }
    }

    pub(super) fn since(&self, version: u64, limit: usize) -> Result<Vec<Arc<Event>>, Expired> {
        if version < self.oldest {
            return Err(Expired { oldest: self.oldest });
        }
        let from = self.ring.partition_point(|event| event.version <= version);
        Ok(self.ring.range(from..).take(limit).cloned().collect())
    }

    pub(super) fn page(
        &self,
        prefix: &str,
        start: &str,
        version: u64,
        limit: usize,
        keep: &dyn Fn(&Stored) -> bool,
    ) -> Result<Page, Expired> {
        let newer = self.since(version, usize::MAX);
        // No ring is needed to know the present.
        let newest = self.ring.back().map_or(self.oldest, |event| event.version);
        let newer = if version >= newest { Vec::new() } else { newer? };
        let mut then: BTreeMap<&str, Option<&Arc<Stored>>> = BTreeMap::new();
        for event in &newer {
            then.entry(&event.key).or_insert(event.before.as_ref());
        }
        let now = self
            .objects
            .range::<str, _>((
                if start.is_empty() { Bound::Included(prefix) } else { Bound::Excluded(start) },
                Bound::Unbounded,
            ))
            .map(|(key, object)| (&**key, object));
        let mut page = Page { version, items: Vec::new(), next: None, remaining: 0 };
        let mut last = "";
        for (key, object) in overlay(now, &then).filter(|(key, _)| *key > start || start.is_empty()) {
            if !key.starts_with(prefix) {
                if key > prefix {
                    break;
                }
                continue;
            }
            if page.items.len() == limit {
                page.next.get_or_insert_with(|| last.into());
                page.remaining += 1;
            } else if keep(object) {
                page.items.push(object.clone());
            }
            if page.next.is_none() {
                last = key;
            }
        }
        Ok(page)
    }
}

/// The objects of now, with those replaced, added or left out that were otherwise then; both in key order.
fn overlay<'a>(
    now: impl Iterator<Item = (&'a str, &'a Arc<Stored>)>,
    then: &BTreeMap<&'a str, Option<&'a Arc<Stored>>>,
) -> impl Iterator<Item = (&'a str, &'a Arc<Stored>)> {
    let mut now = now.peekable();
    let mut then = then.iter().map(|(key, before)| (*key, *before)).peekable();
    std::iter::from_fn(move || {
        loop {
            let from_now = match (now.peek(), then.peek()) {
                (Some((key, _)), Some((other, _))) if key == other => {
                    now.next();
                    false
                }
                (Some((key, _)), Some((other, _))) => key < other,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return None,
            };
            if from_now {
                return now.next();
            }
            if let Some((key, Some(object))) = then.next() {
                return Some((key, object));
            }
        }
    })
}

fn weight(event: &Event) -> usize {
    event.object.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Draft;
    use serde_json::json;

    fn object(name: &str, version: u64) -> Arc<Stored> {
        Arc::new(Draft::new(json!({"metadata": {"name": name}}), &[]).stored(version))
    }

    fn write(shelf: &mut Shelf, version: u64, key: &str, removed: bool) {
        let before = shelf.objects.get(key).cloned();
        let event = Event { version, key: key.into(), before, object: object(key, version), removed };
        shelf.publish(Arc::new(event));
    }

    fn page(shelf: &Shelf, version: u64, start: &str, limit: usize) -> Vec<String> {
        let page = shelf.page("", start, version, limit, &|_| true).map_err(|expired| expired.oldest);
        page.unwrap().items.iter().map(|one| format!("{}@{}", one.meta.name, one.meta.version)).collect()
    }

    #[test]
    fn a_list_can_be_read_as_it_was() {
        let mut shelf = Shelf::new(1);
        for (version, key, removed) in [
            (2, "a", false),
            (3, "b", false),
            (4, "d", false),
            (5, "b", true),
            (6, "c", false),
            (7, "a", false),
            (8, "b", false),
        ] {
            write(&mut shelf, version, key, removed);
        }
        assert_eq!(page(&shelf, 4, "", 9), ["a@2", "b@3", "d@4"]);
        assert_eq!(page(&shelf, 6, "", 9), ["a@2", "c@6", "d@4"]);
        assert_eq!(page(&shelf, 8, "", 9), ["a@7", "b@8", "c@6", "d@4"]);
        assert_eq!(page(&shelf, 4, "a", 1), ["b@3"]);
    }

    #[test]
    fn whoever_falls_behind_the_ring_is_told_and_nobody_is_shown_a_gap() {
        let mut shelf = Shelf::new(1);
        let last = 2 + RING_EVENTS as u64;
        for version in 2..=last {
            write(&mut shelf, version, "a", false);
        }
        let expired = shelf.since(1, 10).map(|events| events.len()).unwrap_err();
        assert_eq!(expired.oldest, 2);
        let events = shelf.since(2, usize::MAX).map_err(|expired| expired.oldest).unwrap();
        assert_eq!((events.len(), events[0].version), (RING_EVENTS, 3));
        assert!(shelf.page("", "", 1, 9, &|_| true).is_err());
        assert_eq!(page(&shelf, last, "", 9), [format!("a@{last}")]);
    }
}
