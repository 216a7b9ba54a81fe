//! Whoever causes a call makes it: no task has to be started and no other has to be woken for it. Who leaves before its end
//! leaves it to a task, if anybody else is aboard.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;

use super::Flight;
use crate::callback::flight::Seat;
use crate::callback::key::{AnswerKey, AsItIs};

/// Makes a call. Ready when it has landed.
pub(super) struct Pilot<'s, F: Future<Output = ()> + Send + 'static> {
    seat: &'s Seat<AnswerKey, Flight, AsItIs>,
    call: Option<Pin<Box<F>>>,
}

impl<'s, F: Future<Output = ()> + Send + 'static> Pilot<'s, F> {
    pub(super) fn new(seat: &'s Seat<AnswerKey, Flight, AsItIs>, call: F) -> Self {
        Self { seat, call: Some(Box::pin(call)) }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Future for Pilot<'_, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(call) = &mut self.call {
            ready!(call.as_mut().poll(cx));
            self.call = None;
        }
        Poll::Ready(())
    }
}

impl<F: Future<Output = ()> + Send + 'static> Drop for Pilot<'_, F> {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        if self.seat.leave_last() {
            return;
        }
        // The seat is still taken: however many leave meanwhile, the last of them finds the task.
        if let Ok(runtime) = Handle::try_current() {
            let task = runtime.spawn(call);
            let _ = self.seat.flight.task.set(task.abort_handle());
        }
    }
}
