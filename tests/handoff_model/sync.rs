//! The checker's lock and condition variables, and a clock that stands still until it is moved on.

use std::cell::{Cell, RefCell};
use std::sync::LockResult;
use std::time::{Duration, Instant};

pub use shuttle::sync::{Mutex, MutexGuard};

// The checker runs all threads of a test on one thread of the system, so this is common to them.
thread_local! {
    static START: Instant = Instant::now();
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static TIMED: RefCell<Vec<shuttle::sync::Arc<shuttle::sync::Condvar>>> =
        const { RefCell::new(Vec::new()) };
}

/// Sets the clock back to where it starts.
pub fn stop_clock() {
    PASSED.set(Duration::ZERO);
    TIMED.take();
}

/// The time.
pub fn now() -> Instant {
    START.with(|&start| start) + PASSED.get()
}

/// Moves the clock on: every wait that has a limit is over. `locked` runs its argument under the
/// lock, so that whoever saw the old time waits already.
pub fn advance(time: Duration, locked: impl FnOnce(&mut dyn FnMut())) {
    locked(&mut || PASSED.set(PASSED.get() + time));
    for condvar in TIMED.take() {
        condvar.notify_all();
    }
}

/// A condition variable whose waits end when the clock is moved on.
pub struct Condvar(shuttle::sync::Arc<shuttle::sync::Condvar>);

impl Condvar {
    pub fn new() -> Self {
        Self(shuttle::sync::Arc::new(shuttle::sync::Condvar::new()))
    }

    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        if time > Duration::ZERO {
            TIMED.with_borrow_mut(|timed| timed.push(self.0.clone()));
            let guard = self.wait(guard).unwrap();
            return Ok((guard, ()));
        }
        Ok((guard, ()))
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
