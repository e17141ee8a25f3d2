//! M4: an older report never replaces a newer one.

use crate::event::What;
use crate::violation::{About, Findings};
use crate::world::World;

pub(crate) fn check(world: &World, what: &What, findings: &mut Findings<'_>) {
    let What::Report(report) = what else { return };
    let Some(before) = world.machines.get(&report.machine).and_then(|machine| machine.report.now()) else {
        return;
    };
    let (new, old) = ((report.session, report.sequence), (before.session, before.sequence));
    if new < old {
        let message = format!("session {} number {} came after {} number {}", new.0, new.1, old.0, old.1);
        findings.broken("M4", "ReportWentBack", About::Machine(&report.machine), [], message);
    }
}
