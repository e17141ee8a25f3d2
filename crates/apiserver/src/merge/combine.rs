//! Lays an applied configuration over a live object.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::fields::element_of;
use super::set::Element;
use super::types::{Atom, Type};

/// The live value with everything that the configuration says.
pub(super) fn combine(of: Type<'_>, live: &Value, config: &Value) -> Value {
    match (of.atom(Some(config)), live, config) {
        (Atom::Map, Value::Object(live), Value::Object(config))
            if !(live.is_empty() && config.is_empty()) =>
        {
            let mut out = Map::new();
            for (name, value) in live {
                let value = match config.get(name) {
                    None => value.clone(),
                    Some(config) => combine(of.member(name), value, config),
                };
                out.insert(name.clone(), value);
            }
            for (name, value) in config {
                if !live.contains_key(name) {
                    out.insert(name.clone(), value.clone());
                }
            }
            Value::Object(out)
        }
        // An empty map or list over a full one takes nothing away: nothing in it is configured.
        (Atom::Map, Value::Object(members), Value::Null) if !members.is_empty() => live.clone(),
        (Atom::Set | Atom::KeyedList, Value::Array(items), Value::Null) if !items.is_empty() => live.clone(),
        (Atom::Set | Atom::KeyedList, Value::Array(live), Value::Array(config)) => {
            Value::Array(combine_items(of, live, config))
        }
        _ => config.clone(),
    }
}

/// The items of both lists: the configuration's order holds for its own items, what only the live list has stays
/// where it was among its neighbours.
fn combine_items(of: Type<'_>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let known = |items: &[Value]| -> Vec<(Element, Value)> {
        items.iter().filter_map(|item| Some((element_of(of, item).ok()?, item.clone()))).collect()
    };
    let (live, config) = (known(live), known(config));
    let mut of_live: BTreeMap<&Element, Option<&Value>> = BTreeMap::new();
    for (element, item) in &live {
        // A repeated item is not merged with anything.
        of_live.entry(element).and_modify(|known| *known = None).or_insert(Some(item));
    }
    let in_config: BTreeSet<&Element> = config.iter().map(|(element, _)| element).collect();
    let mut shared: VecDeque<&Element> =
        config.iter().map(|(element, _)| element).filter(|element| of_live.contains_key(element)).collect();
    let mut next_shared = shared.pop_front();
    let mut done: BTreeSet<&Element> = BTreeSet::new();
    let mut out = Vec::new();
    let merged = |element: &Element, item: &Value| match of_live.get(element).copied().flatten() {
        None => item.clone(),
        Some(live) => combine(of.item(), live, item),
    };
    let (mut l, mut c) = (0, 0);
    while l < live.len() || c < config.len() {
        if let (Some((ours, _)), Some((theirs, item))) = (live.get(l), config.get(c)) {
            if ours == theirs {
                done.insert(ours);
                out.push(merged(theirs, item));
                l += 1;
                c += 1;
                next_shared = shared.pop_front();
                continue;
            }
            if in_config.contains(ours) && next_shared.is_some_and(|next| next != ours) {
                // Shared, but not its turn yet.
                l += 1;
                continue;
            }
        }
        if let Some((ours, item)) = live.get(l) {
            if !in_config.contains(ours) {
                out.push(item.clone());
                l += 1;
                continue;
            }
            if done.contains(ours) {
                l += 1;
            }
        }
        if let Some((theirs, item)) = config.get(c) {
            done.insert(theirs);
            out.push(merged(theirs, item));
            c += 1;
            if next_shared == Some(theirs) {
                next_shared = shared.pop_front();
            }
        }
    }
    out
}
