//! G2, W7: nothing starts while a revision is being applied, or while a selector cannot be read.

use crate::start::Start;
use crate::violation::{About, Findings};
use crate::world::World;

pub(crate) fn check(world: &World, start: &Start<'_>, findings: &mut Findings<'_>) {
    let about = About::Activity(&start.spec.name);
    for (source, since) in world.sources.values() {
        if source.applying && world.was_known(*since, start.at) {
            let message = format!("the source has been applying another revision since {since}");
            findings.broken(
                "G2",
                "StartedWhileApplying",
                about,
                [format!("GitSource/{}", source.name)],
                message,
            );
        }
    }
    for (resource, since) in &world.unreadable {
        if world.was_known(*since, start.at) {
            let message = format!("it cannot be read since {since}, which closes the namespace");
            findings.broken("W7", "StartedWhileUnreadable", about, [resource.to_string()], message);
        }
    }
}
