//! What cannot be read closes its namespace (rule W7), until it can be read or is gone: then it closes nothing any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use muster_fleet::Change;
use smol_str::SmolStr;

use crate::watch::Kind;

/// By object, what it was said to close.
#[derive(Clone, Default)]
struct Closed(Arc<Mutex<BTreeMap<String, Vec<SmolStr>>>>);

impl Closed {
    /// What the object closed before it was seen as it is now is open again, unless `changes` close it anew.
    fn again(&self, object: &str, changes: Vec<Change>) -> Vec<Change> {
        let closes: Vec<SmolStr> = changes.iter().filter_map(closed_by).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.remove(object).unwrap_or_default();
        if !closes.is_empty() {
            known.insert(object.to_owned(), closes);
        }
        before.into_iter().map(|place| Change::Unreadable(place, None)).chain(changes).collect()
    }
}

fn closed_by(change: &Change) -> Option<SmolStr> {
    match change {
        Change::Unreadable(place, Some(_)) => Some(place.clone()),
        _ => None,
    }
}

/// The same kind, whose objects close nothing once they can be read again or are gone.
pub(crate) fn reopening<K: ResourceExt + 'static>(kind: Kind<K>) -> Kind<K> {
    let Kind { name, read, gone, unreadable } = kind;
    let closed = Closed::default();
    let (by_gone, by_unreadable) = (closed.clone(), closed.clone());
    Kind {
        name,
        read: Box::new(move |object| {
            let name = object.name_any();
            closed.again(&name, read(object))
        }),
        gone: Box::new(move |object, ()| by_gone.again(object, gone(object, ()))),
        unreadable: Box::new(move |object, why| by_unreadable.again(object, unreadable(object, why))),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn told(changes: Vec<Change>) -> Vec<String> {
        let mut told = Vec::new();
        for change in changes {
            let Change::Unreadable(place, why) = change else { continue };
            told.push(format!("{place} {}", if why.is_some() { "closes" } else { "opens" }));
        }
        told
    }

    // rule: W7
    #[test]
    fn an_object_that_is_mended_or_deleted_closes_nothing_any_more() {
        let kind = reopening(Kind::<ConfigMap> {
            name: "configmaps",
            read: Box::new(|_| Vec::new()),
            gone: Box::new(|_, ()| Vec::new()),
            unreadable: Box::new(|object, why| vec![Change::Unreadable(object.into(), Some(why))]),
        });
        let mended = || ConfigMap {
            metadata: kube::core::ObjectMeta { name: Some("a".to_owned()), ..Default::default() },
            ..ConfigMap::default()
        };
        assert_eq!(told((kind.unreadable)("a", "no field".to_owned())), ["a closes"]);
        assert_eq!(told((kind.unreadable)("a", "no other".to_owned())), ["a opens", "a closes"]);
        assert_eq!(told((kind.read)(mended())), ["a opens"]);
        assert!(told((kind.read)(mended())).is_empty(), "said once");
        assert_eq!(told((kind.unreadable)("a", "no field".to_owned())), ["a closes"]);
        assert_eq!(told((kind.gone)("a", ())), ["a opens"]);
    }
}
