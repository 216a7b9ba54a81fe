//! A future beside a busy one, in one task, that is asked again only after it has called.
//!
//! A task cannot tell who woke it, and asks everything it waits for. That the gateway drains is told under locks that all
//! connections share: to ask about it each time a connection has something to do would be to pass them all the time.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Polls a future only when it is new or has woken its task.
pub(super) struct Seldom<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    /// Whom the bell wakes.
    wakes: Option<Waker>,
}

struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> Seldom<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() };
        Self { future: Box::pin(future), bell: Arc::new(bell), wakes: None }
    }

    /// What [`Future::poll`] says, as long as that is `Pending`; afterwards it must not be called again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            // Before the bell is looked at: it may ring meanwhile.
            self.bell.task.register(cx.waker());
            self.wakes = Some(cx.waker().clone());
        }
        if !self.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.bell.rung.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self.bell));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl<F> fmt::Debug for Seldom<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seldom").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakes_whoever_asked_last_and_is_asked_only_then() {
        let asked = AtomicUsize::new(0);
        let token = CancellationToken::new();
        let mut inner = Box::pin(token.cancelled());
        let mut seldom = Seldom::new(std::future::poll_fn(|cx| {
            asked.fetch_add(1, Ordering::Relaxed);
            inner.as_mut().poll(cx)
        }));
        let tasks = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let wakers = tasks.clone().map(Waker::from);
        for waker in [&wakers[0], &wakers[0], &wakers[1], &wakers[1]] {
            assert!(seldom.poll(&mut Context::from_waker(waker)).is_pending());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        token.cancel();
        assert_eq!(tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed)), [0, 1]);
        assert!(seldom.poll(&mut Context::from_waker(&wakers[1])).is_ready());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_has_happened_before_is_told_at_once() {
        let token = CancellationToken::new();
        token.cancel();
        let mut seldom = Seldom::new(token.cancelled());
        assert!(seldom.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
