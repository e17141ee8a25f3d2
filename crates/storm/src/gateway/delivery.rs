//! Delivery by compare-and-set in the present epoch (rule A3).

use jiff::SignedDuration;
use muster_checker::event::What;
use muster_model::{ActivityName, Phase};

use super::{Delivery, Word};
use crate::fault::Fault;
use crate::plant::Plant;
use crate::storm::{ForGateway, Storm};

/// Older than that, an undelivered activity is not delivered any more (rule A4).
const UNDELIVERED: SignedDuration = SignedDuration::from_mins(2);

impl Storm {
    /// Delivery, first: the activity as it is.
    pub(super) fn read_for_delivery(&mut self, g: usize, m: usize, name: &ActivityName) {
        if self.strikes(Fault::GatewayError, g) {
            return;
        }
        let now = self.now;
        let Some((version, activity)) = self.api.activity(name) else { return };
        let suspended = self.api.machine(&name.machine).is_none_or(|object| object.machine.suspend);
        let late =
            now.duration_since(activity.created) > UNDELIVERED && !self.plants(Plant::UndeliveredForEver);
        let may_begin = match activity.phase {
            Phase::Pending => !activity.cancel && !suspended && !late,
            Phase::Delivered => true,
            Phase::Running
            | Phase::Verifying
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Refused
            | Phase::Interrupted
            | Phase::Canceled
            | Phase::Expired => false,
        };
        let left = activity.spec.expiry.duration_since(now).as_secs();
        let left = if self.plants(Plant::ExpiryIgnored) { left + 7 * 24 * 3600 } else { left };
        if !may_begin || left <= 0 || activity.spec.machine_uid != self.hosts[m].uid {
            return;
        }
        let delivery = Delivery {
            m,
            activity: Box::new(activity.clone()),
            version,
            asked: self.hosts[m].moment(now),
            left: left.unsigned_abs(),
        };
        let wait = self.dice.millis(1, 80);
        self.for_gateway(g, wait, ForGateway::DeliverIfCurrent(delivery));
    }

    /// Delivery, second: whether the activity is of the present epoch (rule A3).
    pub(crate) fn deliver_if_current(&mut self, g: usize, delivery: Delivery) {
        let current = self.api.lease.epoch == delivery.activity.epoch;
        if !current {
            self.stale_deliveries += 1;
        }
        if current || self.plants(Plant::LateLeaderDelivered) {
            let wait = self.dice.millis(1, 80);
            self.for_gateway(g, wait, ForGateway::Deliver(delivery));
        }
    }

    /// Delivery, third: the compare-and-set, before the bytes leave.
    pub(crate) fn deliver(&mut self, g: usize, delivery: Delivery) {
        let now = self.now;
        let Delivery { m, activity, version, asked, left } = delivery;
        let name = activity.spec.name.clone();
        let Some((there, stored)) = self.api.activity(&name) else { return };
        let delivered = stored.phase == Phase::Delivered && stored.uid == activity.uid;
        if activity.phase != Phase::Delivered || !delivered {
            if there != version {
                // Somebody wrote it meanwhile: it is read again.
                let wait = self.dice.millis(1, 80);
                return self.for_gateway(g, wait, ForGateway::News { m });
            }
            self.api.edit_activity(&name, |activity| {
                activity.phase = Phase::Delivered;
                activity.delivered = Some(now);
            });
            let gateway = Some(self.gateways[g].name.clone());
            self.log(What::ActivityDelivered { name, gateway, at: None });
        }
        self.answer(m, Word::Offer { activity, asked, left });
    }

    /// A planted bug: the machine forgets what it did, and is given it again, once.
    pub(super) fn dispatch_again(&mut self, m: usize, name: &ActivityName) {
        let Some((_, activity)) = self.api.activity(name) else { return };
        let activity = Box::new(activity.clone());
        if self.bent.doubled(name) {
            self.hosts[m].journal = muster_journal::Journal::default();
            let asked = self.hosts[m].moment(self.now);
            self.answer(m, Word::Offer { activity, asked, left: 3600 });
        }
    }
}
