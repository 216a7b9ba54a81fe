//! Looks up now and then from waiting for an answer: does the key still live, is it too late?
//!
//! To set a timer takes a lock and to give it up another, for something that most exchanges end long before. So timers are lent, and
//! stay set when they are given back: one that rings early for its next user makes that look once for nothing.

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

/// One exchange's looks.
#[derive(Debug)]
pub(super) struct Lookout<'a> {
    alarms: &'a Alarms,
    alarm: Option<Alarm>,
}

impl<'a> Lookout<'a> {
    pub(super) const fn new(alarms: &'a Alarms) -> Self {
        Self { alarms, alarm: None }
    }

    /// Ready when it is time to look: within [`LOOK`], and not later than `deadline`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| self.alarms.lend());
        if let Some(deadline) = deadline.filter(|deadline| alarm.deadline() > *deadline) {
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(cx));
        alarm.as_mut().reset(Instant::now() + LOOK);
        Poll::Ready(())
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
    use std::future::poll_fn;

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
}
