//! What can go wrong: each fault by its name, and how often each happened.

use std::collections::BTreeMap;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Something that goes wrong on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

faults! {
    /// A controller's watch of one kind is late by up to a minute while others are not.
    WatchLags,
    /// A controller's watch breaks and loses what happens meanwhile; a relist ends it.
    WatchLost,
    /// A controller's watch is listed anew though nothing was lost.
    Relist,
    /// The API refuses a controller's write: a conflict, or too many requests.
    WriteRefused,
    /// A controller's write fails, and it was not made.
    WriteLost,
    /// A controller's write fails, and it was made.
    WriteUnknown,
    /// A controller's write fails, and is made up to a minute later.
    WriteLate,
    /// A controller dies with a write on its way: it is never made.
    CrashBeforeWrite,
    /// A controller dies as its write is made.
    CrashAfterWrite,
    /// A leader stands still for longer than its lease; what it had sent arrives late, and it goes on as if it led.
    LeaderPaused,
    /// A leader stands still for less long than its lease.
    LeaderSlow,
    /// A controller's clock jumps by minutes or hours, and back.
    ClockJumps,
    /// A gateway dies and comes back.
    GatewayDies,
    /// All gateways are dead for a while.
    AllGatewaysDie,
    /// What a gateway reads or writes of the API fails.
    GatewayError,
    /// A message between a machine and its gateway is lost.
    MessageLost,
    /// A machine loses the network for minutes or hours.
    MachineSilent,
    /// A machine is absent for more than a day.
    MachineAbsent,
    /// The power of a machine fails.
    PowerFails,
    /// An agent dies and starts again.
    AgentDies,
    /// A machine's agent forgets the session that its gateway opened.
    SessionLost,
    /// A second machine with the identity of another appears for a while.
    Cloned,
    /// A machine's clock is wrong by hours.
    ClockSkewed,
    /// A package operation fails on one machine.
    StepFails,
    /// A package operation hangs for hours.
    StepHangs,
    /// Another program holds dpkg's lock.
    Locked,
    /// The mirror does not answer.
    MirrorDown,
    /// A machine's disk is full.
    DiskFull,
    /// A unit fails by itself.
    UnitFails,
    /// A reboot takes hours.
    RebootSlow,
    /// A reboot does not happen.
    RebootIgnored,
    /// After a reboot the kernel of before runs.
    KernelFallsBack,
    /// A machine reboots by itself.
    RebootsItself,
    /// A package's hold is set by somebody else.
    HeldByOthers,
    /// A version is published that leaves packages half-configured.
    BadScript,
    /// A version is published whose service fails.
    BadService,
    /// A version is published that takes machines off the network.
    BadSilence,
    /// A kernel is published that does not boot.
    BadKernel,
    /// A version vanishes from the archive.
    VersionVanishes,
    /// A revision is applied in part, long before the rest.
    ApplyStalls,
    /// A window cannot be read for a while.
    Unreadable,
    /// A FleetMachine is deleted and enrolled anew under its name.
    MachineAnew,
}

/// How often each fault happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    /// One more.
    pub(crate) fn note(&mut self, fault: Fault) {
        *self.0.entry(fault).or_insert(0) += 1;
    }

    /// How often one happened.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    /// How many there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (fault, times) in &other.0 {
            *self.0.entry(*fault).or_insert(0) += times;
        }
    }
}

/// What a fault happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Machine,
    Controller,
    Gateway,
    Fleet,
}

impl Fault {
    pub(crate) fn target(self) -> Target {
        match self {
            Self::WatchLags
            | Self::WatchLost
            | Self::Relist
            | Self::WriteRefused
            | Self::WriteLost
            | Self::WriteUnknown
            | Self::WriteLate
            | Self::CrashBeforeWrite
            | Self::CrashAfterWrite
            | Self::LeaderPaused
            | Self::LeaderSlow
            | Self::ClockJumps => Target::Controller,
            Self::GatewayDies | Self::GatewayError => Target::Gateway,
            Self::MessageLost
            | Self::MachineSilent
            | Self::MachineAbsent
            | Self::PowerFails
            | Self::AgentDies
            | Self::SessionLost
            | Self::Cloned
            | Self::ClockSkewed
            | Self::StepFails
            | Self::StepHangs
            | Self::Locked
            | Self::MirrorDown
            | Self::DiskFull
            | Self::UnitFails
            | Self::RebootSlow
            | Self::RebootIgnored
            | Self::KernelFallsBack
            | Self::RebootsItself
            | Self::HeldByOthers
            | Self::MachineAnew => Target::Machine,
            Self::AllGatewaysDie
            | Self::BadScript
            | Self::BadService
            | Self::BadSilence
            | Self::BadKernel
            | Self::VersionVanishes
            | Self::ApplyStalls
            | Self::Unreadable => Target::Fleet,
        }
    }

    /// How often it happens where it may, in a thousand times; 0 for those that happen by themselves.
    pub(crate) fn usual_rate(self) -> u32 {
        match self {
            Self::WriteRefused | Self::WriteLost | Self::WriteUnknown => 12,
            Self::WriteLate => 6,
            Self::CrashBeforeWrite | Self::CrashAfterWrite => 2,
            Self::GatewayError => 10,
            Self::MessageLost => 20,
            Self::AgentDies => 30,
            _ => 0,
        }
    }
}
