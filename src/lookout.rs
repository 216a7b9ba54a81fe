//! Looks up now and then from waiting: is it too late, does the key still live?
//!
//! To set a timer takes a lock and to give it up another, for something that most waiting ends long before. So timers are lent, and
//! stay set when they are given back: one that rings early for its next user makes that look once for nothing.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Longest time between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Most timers that are kept for the next user.
const KEPT: usize = 1024;

type Alarm = Pin<Box<Sleep>>;

/// A worker's timers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Alarms(Arc<Mutex<Vec<Alarm>>>);

impl Alarms {
    fn lend(&self) -> Alarm {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| Box::pin(sleep(LOOK)))
    }

    fn take_back(&self, alarm: Alarm) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(alarm);
        }
    }
}

/// The looks of whoever waits for one thing.
#[derive(Debug)]
pub struct Lookout<'a> {
    alarms: &'a Alarms,
    alarm: Option<Alarm>,
}

impl<'a> Lookout<'a> {
    /// One with these timers.
    #[must_use]
    pub const fn new(alarms: &'a Alarms) -> Self {
        Self { alarms, alarm: None }
    }

    /// Ready when it is time to look: within half a second, and not later than `deadline`.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| self.alarms.lend());
        if let Some(deadline) = deadline.filter(|deadline| alarm.deadline() > *deadline) {
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(cx));
        alarm.as_mut().reset(Instant::now() + LOOK);
        Poll::Ready(())
    }
}

/// What `future` comes to, unless that takes until `deadline`.
pub async fn before<F: Future>(
    deadline: Instant,
    alarms: &Alarms,
    mut future: Pin<&mut F>,
) -> Option<F::Output> {
    let mut lookout = Lookout::new(alarms);
    loop {
        let polled = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => lookout.poll(cx, Some(deadline)).map(|()| None),
        });
        let output = polled.await;
        if output.is_some() || Instant::now() >= deadline {
            return output;
        }
    }
}

impl Drop for Lookout<'_> {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            self.alarms.take_back(alarm);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    async fn look(lookout: &mut Lookout<'_>, deadline: Option<Duration>) -> Duration {
        let begun = Instant::now();
        let deadline = deadline.map(|limit| begun + limit);
        poll_fn(|cx| lookout.poll(cx, deadline)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn looks_come_in_time() {
        let alarms = Alarms::default();
        let mut lookout = Lookout::new(&alarms);
        assert_eq!(look(&mut lookout, None).await, LOOK);
        assert_eq!(look(&mut lookout, Some(Duration::from_secs(9))).await, LOOK);
        let soon = Duration::from_millis(20);
        assert_eq!(look(&mut lookout, Some(soon)).await, soon);
        drop(lookout);
        // The same timer, set a while ago, rings early once.
        tokio::time::advance(Duration::from_millis(400)).await;
        let mut next = Lookout::new(&alarms);
        assert_eq!(look(&mut next, None).await, Duration::from_millis(100));
        assert_eq!(look(&mut next, None).await, LOOK);
        assert!(alarms.0.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_beyond_its_deadline() {
        let alarms = Alarms::default();
        let begun = Instant::now();
        for (limit, expected) in [(100, None), (2_999, None), (3_000, Some(())), (9_000, Some(()))]
        {
            let (start, three) = (Instant::now(), Duration::from_secs(3));
            let deadline = start + Duration::from_millis(limit);
            assert_eq!(before(deadline, &alarms, pin!(sleep(three))).await, expected, "{limit}");
            assert_eq!(start.elapsed(), three.min(Duration::from_millis(limit)));
        }
        // What is there already is taken, however late it is, and asks no timer.
        assert_eq!(before(begun, &Alarms::default(), pin!(async { 1 })).await, Some(1));
    }
}
