//! A rollout as a baseline writes it: waves in an order that makes sense.

use std::collections::BTreeSet;

use muster_model::{MAX_WAVES, ObjectName, Picks, REST, Share, Wave};

use super::Reader;
use crate::{RolloutSpec, RolloutWave};

impl Reader {
    pub(super) fn rollout(&mut self, field: &str, spec: &RolloutSpec) -> Option<muster_model::RolloutSpec> {
        let RolloutSpec { waves, zone_key, max_unavailable, max_failures, min_ready } = spec;
        let waves = self.waves(&format!("{field}.waves"), waves);
        let max_unavailable = self.share(&format!("{field}.maxUnavailable"), max_unavailable);
        let max_failures = self.share(&format!("{field}.maxFailures"), max_failures);
        let min_ready = self.duration(&format!("{field}.minReady"), min_ready);
        Some(muster_model::RolloutSpec {
            waves: waves?,
            zone_key: zone_key.as_ref().map(Into::into),
            max_unavailable: max_unavailable?,
            max_failures: max_failures?,
            min_ready: min_ready?,
        })
    }

    fn waves(&mut self, field: &str, written: &[RolloutWave]) -> Option<Vec<Wave>> {
        if written.len() > MAX_WAVES {
            self.refuse(field, "O1", format!("there are {}: at most {MAX_WAVES} waves", written.len()));
        }
        let mut names = BTreeSet::new();
        let mut largest: Option<Share> = None;
        let mut waves = Vec::new();
        for (at, one) in written.iter().enumerate() {
            let field = format!("{field}[{at}]");
            let wave = self.wave(&field, one);
            if one.name == REST {
                self.refuse(
                    format!("{field}.name"),
                    "O1",
                    "rest is the implicit last wave: give this one another name",
                );
            }
            if !names.insert(&one.name) {
                self.refuse(
                    format!("{field}.name"),
                    "O1",
                    format!("{} is there twice: rename one", one.name),
                );
            }
            if let Some(Wave { picks: Picks::Share(share), .. }) = &wave {
                if let Some(before) = largest.filter(|before| !is_larger(*share, *before)) {
                    let why = format!(
                        "{share} is not more than the {before} of an earlier wave, which holds these machines: shares grow \
                         from wave to wave"
                    );
                    self.refuse(format!("{field}.machines"), "O1", why);
                }
                largest = Some(*share);
            }
            waves.push(wave);
        }
        waves.into_iter().collect()
    }

    fn wave(&mut self, field: &str, written: &RolloutWave) -> Option<Wave> {
        let RolloutWave { name, machine_selector, machines, soak, approval } = written;
        let name = self.read(format!("{field}.name"), "O1", ObjectName::parse(name));
        let soak = self.duration(&format!("{field}.soak"), soak);
        let picks = match (machine_selector, machines) {
            (Some(selector), None) => {
                self.selector_at(&format!("{field}.machineSelector"), selector).map(Picks::Selected)
            }
            (None, Some(share)) => self.share(&format!("{field}.machines"), share).map(Picks::Share),
            (Some(_), Some(_)) | (None, None) => {
                self.refuse(field, "O1", "write exactly one of machineSelector and machines");
                None
            }
        };
        if matches!(picks, Some(Picks::Share(Share::Count(0) | Share::Percent(0)))) {
            self.refuse(
                format!("{field}.machines"),
                "O1",
                "a wave of no machine can show nothing: take it out",
            );
        }
        Some(Wave { name: name?, picks: picks?, soak: soak?, approval: *approval })
    }
}

/// Whether the share is surely more, whatever the number of machines; a number and a percentage are not compared.
fn is_larger(share: Share, before: Share) -> bool {
    match (share, before) {
        (Share::Count(count), Share::Count(before)) => count > before,
        (Share::Percent(percent), Share::Percent(before)) => percent > before,
        (Share::Count(_), Share::Percent(_)) | (Share::Percent(_), Share::Count(_)) => true,
    }
}
