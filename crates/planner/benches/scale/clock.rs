//! How long this thread has computed: what else runs on the machine does not count, as it would by the wall's clock.

#![allow(
    unsafe_code,
    reason = "the standard library has no such clock; the call fills in a value on our stack"
)]

use std::time::Duration;

/// How long it takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = computed();
    let done = work();
    (done, computed() - begun)
}

fn computed() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "Linux has this clock");
    let parts = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    let (Ok(seconds), Ok(nanos)) = parts else { panic!("a clock that begins at zero") };
    Duration::new(seconds, nanos)
}
