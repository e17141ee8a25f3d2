//! Moments that can be told apart across reboots.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A moment on one machine, by its boot clock, which no one can set (rule A4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// The boot's id: `/proc/sys/kernel/random/boot_id`.
    pub boot: SmolStr,
    /// Microseconds since that boot, suspended time included.
    pub uptime_micros: u64,
    /// The wall clock, in microseconds since 1970: used only between two boots.
    pub wall_micros: i64,
}

impl Moment {
    /// Microseconds from this moment to `now`.
    ///
    /// Within a boot the boot clock tells. Across boots the wall clock does, but never less than the present boot has
    /// lasted: a wrong clock may make a deadline pass early, and no step is begun late by it.
    #[must_use]
    pub fn micros_until(&self, now: &Moment) -> u64 {
        if self.boot == now.boot {
            return now.uptime_micros.saturating_sub(self.uptime_micros);
        }
        let wall = u64::try_from(now.wall_micros.saturating_sub(self.wall_micros)).unwrap_or(0);
        wall.max(now.uptime_micros)
    }

    /// Whether `seconds` have passed since this moment.
    #[must_use]
    pub fn is_past(&self, seconds: u64, now: &Moment) -> bool {
        self.micros_until(now) >= seconds.saturating_mul(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: &str, uptime_seconds: u64, wall_seconds: i64) -> Moment {
        Moment {
            boot: boot.into(),
            uptime_micros: uptime_seconds * 1_000_000,
            wall_micros: wall_seconds * 1_000_000,
        }
    }

    // rule: A4
    #[test]
    fn a_clock_that_is_set_back_gives_no_step_more_time() {
        let start = at("a", 100, 5_000);
        assert_eq!(start.micros_until(&at("a", 160, 0)), 60_000_000, "the boot clock counts, not the wall's");
        assert_eq!(start.micros_until(&at("b", 30, 5_090)), 90_000_000, "between boots the wall clock does");
        assert_eq!(start.micros_until(&at("b", 30, 0)), 30_000_000, "and no less than this boot has lasted");
        assert!(start.is_past(60, &at("a", 160, 0)));
        assert!(!start.is_past(61, &at("a", 160, 0)));
    }
}
