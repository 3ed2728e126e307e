//! Chance and time of a simulated history. Both come from the C library in every program; here ours come first, so that
//! libraries as shipped, whoever wrote them, draw from the seed and read the simulation's clock. The rule: outside a
//! history nothing changes.
//!
//! [`getrandom(2)`](https://man7.org/linux/man-pages/man2/getrandom.2.html),
//! [`clock_gettime(2)`](https://man7.org/linux/man-pages/man2/clock_gettime.2.html)

use std::cell::Cell;
use std::time::{Duration, Instant};

/// When histories begin: 2026-01-01, in seconds since the Unix epoch.
const EPOCH: i64 = 1_767_225_600;

/// What the monotonic clock says then.
const UPTIME: i64 = 1_000_000;

thread_local! {
    static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
    static TIME: Cell<Time> = const { Cell::new(Time::Real) };
    /// How far the wall clock was set, in milliseconds.
    static STEP: Cell<i64> = const { Cell::new(0) };
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, PartialEq)]
enum Time {
    Real,
    /// It stands where it begins.
    Fixed,
    /// It is the runtime's.
    Runtime,
}

/// From now on this thread draws from `seed`, and its clock stands at the beginning.
pub(crate) fn begin(seed: u64) {
    fastrand::seed(seed ^ 0x5EED);
    RANDOM.set(Some(seed));
    TIME.set(Time::Fixed);
    BEGAN.set(Some(Instant::now()));
}

/// From now on this thread's clocks follow the runtime's, which is paused.
pub(crate) fn follow_the_runtime() {
    TIME.set(Time::Runtime);
}

/// The history is over: chance and time are the system's again.
pub(crate) fn end() {
    RANDOM.set(None);
    TIME.set(Time::Real);
}

/// Sets the wall clock.
pub(crate) fn step(millis: i64) {
    STEP.set(STEP.get() + millis);
}

/// The time of the history.
pub(crate) fn elapsed() -> Duration {
    BEGAN
        .get()
        .map_or(Duration::ZERO, |began| tokio::time::Instant::now().into_std() - began)
}

/// Time since the beginning, for the clocks. Whoever asks while it is being found out, hears of the beginning.
fn clock() -> Option<Duration> {
    match TIME.get() {
        Time::Real => None,
        Time::Fixed => Some(Duration::ZERO),
        Time::Runtime => {
            TIME.set(Time::Fixed);
            let elapsed = elapsed();
            TIME.set(Time::Runtime);
            Some(elapsed)
        }
    }
}

/// The next of a series of numbers (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
fn next(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (state, z ^ (z >> 31))
}

#[allow(unsafe_code)]
mod c {
    use super::{Duration, EPOCH, RANDOM, STEP, UPTIME, clock, next};

    /// Fills a buffer with what the seed gives, or with what the system gives.
    ///
    /// # Safety
    /// As of the C function: `buffer` has `length` bytes.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
        let Some(mut state) = RANDOM.try_with(std::cell::Cell::get).ok().flatten() else {
            // SAFETY: the same arguments, for the function that we stand before.
            return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
        };
        for at in 0..length {
            let (following, number) = next(state);
            state = following;
            // SAFETY: within the buffer, as the caller promises.
            unsafe { buffer.add(at).write(number as u8) };
        }
        let _ = RANDOM.try_with(|random| random.set(Some(state)));
        length as isize
    }

    /// Tells the simulation's time, or the system's.
    ///
    /// # Safety
    /// As of the C function: `time` can be written to.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn clock_gettime(id: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
        let wall = matches!(id, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE);
        let monotonic = matches!(
            id,
            libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_BOOTTIME | libc::CLOCK_MONOTONIC_RAW
        );
        let elapsed = if wall || monotonic { clock() } else { None };
        let Some(elapsed) = elapsed else {
            // SAFETY: the same arguments, for the function that we stand before.
            return unsafe { libc::syscall(libc::SYS_clock_gettime, id, time) as libc::c_int };
        };
        let (base, step) = if wall { (EPOCH, STEP.get()) } else { (UPTIME, 0) };
        let now = Duration::from_secs(base.unsigned_abs()) + elapsed;
        let now = match u64::try_from(step) {
            Ok(ahead) => now + Duration::from_millis(ahead),
            Err(_) => now - Duration::from_millis(step.unsigned_abs()),
        };
        // SAFETY: as the caller promises.
        unsafe {
            time.write(libc::timespec {
                tv_sec: now.as_secs() as libc::time_t,
                tv_nsec: libc::c_long::from(now.subsec_nanos()),
            });
        }
        0
    }
}
