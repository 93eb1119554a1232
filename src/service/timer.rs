//! A thread that tells callers when time is up, also while the device is busy.

use super::error::ServiceError;
use super::handoff::Tick;
use super::health::Drained;
use super::shared::{Ending, Shared};

/// Watches deadlines until the service ends.
pub(super) fn run(shared: &Shared) {
    loop {
        match shared.handoff.tick() {
            Tick::Expired(tickets) => {
                for ticket in tickets {
                    ticket.refuse(ServiceError::DeadlineExceeded);
                }
            }
            Tick::Cut(tickets) => {
                for ticket in &tickets {
                    ticket.refuse(ServiceError::ShuttingDown);
                }
                shared.set_ending(Ending::Ended(match tickets.len() {
                    0 => Drained::All,
                    cut => Drained::Cut(cut),
                }));
            }
            Tick::End => return,
        }
    }
}
