//! Who is heard is put together from what changed: it must come to what a look at everybody shows.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// One thing that gateways, machines or time do. Numbers are seconds.
#[derive(Clone, Debug)]
enum Happens {
    /// A gateway publishes a shard: how each machine is there, and whether since this life or the one before.
    Publishes(&'static str, Vec<Says>, bool),
    /// A shard is gone.
    Withdraws(&'static str),
    /// A gateway begins a new life, or goes on with its present one; its Lease is good for so long.
    Leases(&'static str, bool, i64),
    /// A gateway's Lease is gone.
    Leaves(&'static str),
    /// A machine is there, with or without a report.
    Machine(usize, bool),
    MachineGone(usize),
    Waits(i64),
}

#[derive(Clone, Copy, Debug)]
enum Says {
    Nothing,
    Present,
    Silent(i64),
}

const MACHINES: usize = 4;

fn happens() -> impl Strategy<Value = Happens> {
    let gateway = || select(vec!["g", "h"]);
    let says = prop_oneof![
        Just(Says::Nothing),
        Just(Says::Present),
        select(vec![30, 600, 5000]).prop_map(Says::Silent)
    ];
    prop_oneof![
        4 => (gateway(), vec(says, MACHINES), any::<bool>()).prop_map(|(g, says, old)| Happens::Publishes(g, says, old)),
        1 => gateway().prop_map(Happens::Withdraws),
        3 => (gateway(), any::<bool>(), select(vec![15, 60, 3600])).prop_map(|(g, anew, good)| Happens::Leases(g, anew, good)),
        1 => gateway().prop_map(Happens::Leaves),
        2 => (0..MACHINES, any::<bool>()).prop_map(|(n, reports)| Happens::Machine(n, reports)),
        1 => (0..MACHINES).prop_map(Happens::MachineGone),
        4 => select(vec![0, 5, 20, 130, 4000]).prop_map(Happens::Waits),
    ]
}

/// A world and since when each gateway lives.
struct Story {
    world: World,
    lives: BTreeMap<&'static str, Instant>,
}

impl Story {
    fn new() -> Self {
        let mut world = World::new(MACHINES, 0);
        let start = world.now;
        world.observe(Change::Presence("g".into(), "g-0".into(), None));
        world.observe(Change::Gateway("g".into(), None));
        Self { world, lives: [("g", start), ("h", start)].into() }
    }

    fn happens(&mut self, what: &Happens) {
        let (world, lives) = (&mut self.world, &mut self.lives);
        let now = world.now;
        match what {
            Happens::Publishes(gateway, says, old) => {
                let since = lives[gateway] - if *old { HOUR } else { SignedDuration::ZERO };
                let mut shard = PresenceShard { since: Some(since), ..PresenceShard::default() };
                for (number, says) in says.iter().enumerate() {
                    match says {
                        Says::Nothing => {}
                        Says::Present => drop(shard.present.insert(name(number))),
                        Says::Silent(ago) => {
                            shard.silent.insert(name(number), now - SignedDuration::from_secs(*ago));
                        }
                    }
                }
                world.observe(Change::Presence((*gateway).into(), "0".into(), Some(shard)));
            }
            Happens::Withdraws(gateway) => {
                world.observe(Change::Presence((*gateway).into(), "0".into(), None));
            }
            Happens::Leases(gateway, anew, good) => {
                if *anew {
                    lives.insert(gateway, now);
                }
                let valid_until = now + SignedDuration::from_secs(*good);
                let lease = GatewayLease { acquired: lives[gateway], renewed: now, valid_until };
                world.observe(Change::Gateway((*gateway).into(), Some(lease)));
            }
            Happens::Leaves(gateway) => world.observe(Change::Gateway((*gateway).into(), None)),
            Happens::Machine(number, reports) => {
                world.machine(&name(*number), |machine| {
                    if !reports {
                        machine.reported = None;
                    }
                });
            }
            Happens::MachineGone(number) => world.observe(Change::MachineGone(name(*number))),
            Happens::Waits(seconds) => world.now += SignedDuration::from_secs(*seconds),
        }
    }

    /// After a pass, and another when a Lease that has just run out was looked at again.
    fn heard(&mut self) -> BTreeMap<MachineName, Presence> {
        for wait in [0, 6] {
            self.world.now += SignedDuration::from_secs(wait);
            drop(step(&mut self.world.state, Input::Pass(self.world.now)));
        }
        let machines = &self.world.state.snapshot().machines;
        machines.values().map(|machine| (machine.name.clone(), machine.presence)).collect()
    }
}

proptest! {
    // rule: B2, M1
    #[test]
    fn what_is_looked_at_in_part_is_what_a_look_at_all_shows(story in vec(vec(happens(), 1..4), 1..25)) {
        let (mut in_part, mut whole) = (Story::new(), Story::new());
        for moment in &story {
            for what in moment {
                in_part.happens(what);
                whole.happens(what);
            }
            // A clock that was off a moment ago makes a controller look at everybody anew.
            whole.world.observe(Change::ClockOff(true));
            whole.world.observe(Change::ClockOff(false));
            prop_assert_eq!(in_part.heard(), whole.heard(), "after {:?}", moment);
        }
    }
}
