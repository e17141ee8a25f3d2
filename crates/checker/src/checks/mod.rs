//! The checks: each looks at one event, in the world as it was before it, and says which rule it breaks.

mod applying;
mod baselines;
mod boots;
mod budgets;
mod deadlines;
mod epochs;
mod history;
mod items;
mod kernels;
mod machines;
mod numbering;
mod overrides;
mod phases;
mod released;
mod reports;
mod retries;
mod transactions;
mod twice;
mod whole;
mod windows;

use crate::event::Event;
use crate::items::Items;
use crate::start::Start;
use crate::violation::Findings;
use crate::window::Calendar;
use crate::world::World;

/// What checks remember between events beside the world.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) calendar: Calendar,
    pub(crate) items: Items,
    pub(crate) boots: boots::Boots,
    pub(crate) kernels: kernels::Kernels,
    pub(crate) counts: crate::counts::Counts,
}

/// Judges an event in the world before it.
pub(crate) fn judge(world: &World, event: &Event, memory: &mut Memory, findings: &mut Findings<'_>) {
    let what = &event.event;
    numbering::check(world, what, findings);
    phases::check(world, what, findings);
    epochs::check(world, event, findings);
    deadlines::check(world, event, findings);
    history::check(world, event, findings);
    reports::check(world, what, findings);
    released::check(world, event, &memory.items, findings);
    twice::check(world, what, findings);
    boots::check(event, &mut memory.boots, world, findings);
    kernels::check(event, &mut memory.kernels, world, findings);
    windows::check_steps(world, event, &mut memory.calendar, findings);
    if let Some(start) = Start::of(world, event.time, what) {
        machines::check(world, &start, findings);
        applying::check(world, &start, findings);
        baselines::check(world, &start, findings);
        transactions::check(world, &start, findings);
        kernels::check_start(world, &start, &memory.kernels, findings);
        retries::check(world, &start, findings);
        windows::check(world, &start, &mut memory.calendar, findings);
        budgets::check(world, &start, findings, &mut memory.counts);
        items::check(world, &start, &memory.items, findings);
        whole::check(world, &start, &memory.items, findings);
    }
}
