//! A request's place in the queue, from the caller's side.

use tokio::sync::oneshot;

use super::error;
use super::queue::Id;
use super::shared::Shared;
use super::ticket::Answer;

/// Held by the caller's future: free again when that is dropped, answered or not.
pub(super) struct Place<'a> {
    shared: &'a Shared,
    id: Id,
    answered: bool,
}

impl<'a> Place<'a> {
    pub(super) fn new(shared: &'a Shared, id: Id) -> Self {
        Self {
            shared,
            id,
            answered: false,
        }
    }

    pub(super) async fn wait(mut self, answer: oneshot::Receiver<Answer>) -> Answer {
        let answer = answer.await;
        self.answered = true;
        answer.unwrap_or_else(|_| Err(error::internal("serve", "a request was left unanswered")))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.handoff.remove(self.id);
        if !self.answered {
            self.shared.stats().requests.cancelled += 1;
        }
    }
}
