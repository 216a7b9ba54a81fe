//! A deadline that costs next to nothing to move, and little to ask about: the runtime's timer is touched only when it
//! fires too early, or somebody else is to be woken.
//!
//! Every request moves a connection's deadline; resetting the real timer each time would take a lock each time.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer, allocated when it is first waited on.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes, once it has been told.
    wakes: Option<Waker>,
}

impl Timer {
    /// Ready when `deadline` has passed. Only the deadline of the last call counts.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
            self.wakes = None;
        }
        let told = self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if told && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        self.wakes = None;
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        self.wakes = Some(cx.waker().clone());
        Poll::Pending
    }
}
