//! For how long a connection may keep the gateway waiting: for the rest of a head, or for the next one.
//!
//! Requests cost no look at the clock here. Between heads a connection is looked at in intervals, and what happened since
//! the last look is told by counts; only what sends part of a head is timed to the moment.

use std::task::{Context, Poll, ready};

use tokio::time::{Duration, Instant};

use super::Limits;
use super::timer::Timer;

/// Longest interval between two looks at a connection that is not parked.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a connection has been waited for long enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overdue {
    /// Its first byte.
    Start,
    /// The rest of a head.
    Head,
    /// Another request, for so long that it should be parked.
    Parking,
    /// Another request, for so long that it should end.
    Request,
}

/// The clocks of one connection.
#[derive(Debug)]
pub struct Patience {
    head_timeout: Duration,
    idle_timeout: Duration,
    parks: bool,
    interval: Duration,
    wait: Wait,
    look: Option<Look>,
    parked_until: Option<Instant>,
    timer: Timer,
}

/// A wait for a head or the rest of one, and since when.
#[derive(Clone, Copy, Debug)]
struct Wait {
    part_of_head: bool,
    heads: u64,
    since: Instant,
}

/// The last look at a connection between requests.
#[derive(Clone, Copy, Debug)]
struct Look {
    next: Instant,
    heads: u64,
    /// The first look since which nothing has happened; none while something was going on.
    calm_since: Option<Instant>,
}

impl Patience {
    /// The clocks of a connection that begins now.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let Limits { head_timeout, idle_timeout, park_after, .. } = *limits;
        Self {
            head_timeout,
            idle_timeout,
            parks: park_after.is_some(),
            // So that looks are many even within a short time limit.
            interval: park_after.unwrap_or(INTERVAL).min(idle_timeout / 4),
            wait: Wait { part_of_head: false, heads: 0, since: Instant::now() },
            look: None,
            parked_until: None,
            timer: Timer::default(),
        }
    }

    /// The clocks of a connection that is parked from the beginning.
    pub(super) fn parked(limits: &Limits) -> Self {
        let end = Instant::now() + limits.idle_timeout;
        Self { parked_until: Some(end), ..Self::new(limits) }
    }

    /// The clocks for requests of the same client that the guard does not see, from now on. They are looked at seldom, and
    /// nothing is parked.
    pub(super) fn with_streams(&self) -> Self {
        let Self { head_timeout, idle_timeout, .. } = *self;
        let limits = Limits { head_timeout, idle_timeout, park_after: None, ..Limits::default() };
        Self { interval: idle_timeout / 4, ..Self::new(&limits) }
    }

    /// Waits for the first byte, or, with `part_of_head`, for the rest of a head. `heads` have come before.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        part_of_head: bool,
        heads: u64,
    ) -> Poll<Overdue> {
        if (self.wait.part_of_head, self.wait.heads) != (part_of_head, heads) {
            self.wait = Wait { part_of_head, heads, since: Instant::now() };
        }
        ready!(self.timer.poll(cx, self.wait.since + self.head_timeout));
        Poll::Ready(if part_of_head { Overdue::Head } else { Overdue::Start })
    }

    /// Waits for another request after `heads`. `is_calm` says whether all that came before is over and done with.
    ///
    /// After [`Overdue::Parking`], until [`unpark`](Self::unpark), no looks are taken any more.
    pub fn poll_quiet(
        &mut self,
        cx: &mut Context<'_>,
        heads: u64,
        is_calm: impl Fn() -> bool,
    ) -> Poll<Overdue> {
        if let Some(end) = self.parked_until {
            ready!(self.timer.poll(cx, end));
            return Poll::Ready(Overdue::Request);
        }
        let mut look = match self.look {
            Some(look) => look,
            None => {
                let now = Instant::now();
                let calm_since = is_calm().then_some(now);
                *self.look.insert(Look { next: now + self.interval, heads, calm_since })
            }
        };
        loop {
            ready!(self.timer.poll(cx, look.next));
            let now = Instant::now();
            let mut next = now + self.interval;
            let stayed_calm = look.calm_since.filter(|_| look.heads == heads && is_calm());
            if let Some(since) = stayed_calm {
                let end = since + self.idle_timeout;
                if now >= end {
                    return Poll::Ready(Overdue::Request);
                }
                if self.parks {
                    self.parked_until = Some(end);
                    return Poll::Ready(Overdue::Parking);
                }
                next = next.min(end);
            }
            let calm_since = stayed_calm.or_else(|| is_calm().then_some(now));
            look = Look { next, heads, calm_since };
            self.look = Some(look);
        }
    }

    /// The connection is not parked any more.
    pub(super) fn unpark(&mut self) {
        self.parked_until = None;
        self.look = None;
    }
}
