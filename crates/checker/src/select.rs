//! Whom a selector selects.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::event::{Operator, Selector};

impl Selector {
    /// Whether it selects the machine with these labels and facts; labels win.
    pub(crate) fn selects(
        &self,
        labels: &BTreeMap<SmolStr, SmolStr>,
        facts: Option<&BTreeMap<SmolStr, SmolStr>>,
    ) -> bool {
        let value = |key: &str| labels.get(key).or_else(|| facts.and_then(|facts| facts.get(key)));
        self.match_labels.iter().all(|(key, wanted)| value(key) == Some(wanted))
            && self.match_expressions.iter().all(|expression| {
                let value = value(&expression.key);
                match expression.operator {
                    Operator::In => value.is_some_and(|value| expression.values.contains(value)),
                    Operator::NotIn => value.is_none_or(|value| !expression.values.contains(value)),
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                }
            })
    }
}
