//! Connections that wait for their next request.
//!
//! The one that was used last goes first, so that those which are not needed grow old and are closed. Nobody reads on them: whether the
//! upstream has closed one is seen when it is taken, and by a sweep, a task that there is only while any wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::address::Address;
use super::connection::Connection;

/// Most connections that wait, for each address.
const MOST: usize = 1024;
/// Longest time between two sweeps.
const PERIOD: Duration = Duration::from_secs(1);
/// Fewest sweeps that a connection outlives, so that its age is known well enough.
const FEWEST: u32 = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Idle {
    kept: Mutex<Kept>,
    /// Between two sweeps.
    period: Duration,
    /// Sweeps that none outlives.
    lives: u32,
}

#[derive(Debug, Default)]
struct Kept {
    /// By address; as many as are configured, at most. None goes away.
    stacks: Vec<(Address, Vec<Waiting>)>,
    is_swept: bool,
}

/// Where connections to one address wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

#[derive(Debug)]
struct Waiting {
    connection: Box<Connection>,
    /// Sweeps outlived.
    age: u32,
}

impl Idle {
    /// No connections. Each is closed after `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        let period = PERIOD.min(timeout / FEWEST).max(Duration::from_millis(1));
        let lives = timeout.as_nanos().div_euclid(period.as_nanos());
        let lives = u32::try_from(lives).unwrap_or(u32::MAX);
        Self { kept: Mutex::default(), period, lives }
    }

    /// A connection to `address` on which a request can be sent, and where connections to it wait.
    pub(super) fn take(&self, address: &Address) -> (Place, Option<Box<Connection>>) {
        let mut kept = self.locked();
        let place = kept.place(address);
        let connection = kept.stacks.get_mut(place.0).and_then(|(_, stack)| {
            std::iter::from_fn(|| stack.pop())
                .map(|waiting| waiting.connection)
                .find_map(|mut connection| connection.is_quiet().then_some(connection))
        });
        (place, connection)
    }

    /// Keeps a connection that has carried an answer to its end.
    pub(super) fn put(self: &Arc<Self>, place: Place, mut connection: Box<Connection>) {
        // What else happened to it is seen when it is taken, or swept.
        if !connection.buffer().is_empty() {
            return;
        }
        connection.rest();
        let mut kept = self.locked();
        match kept.stacks.get_mut(place.0) {
            Some((_, stack)) if stack.len() < MOST => stack.push(Waiting { connection, age: 0 }),
            Some(_) | None => return,
        }
        if !std::mem::replace(&mut kept.is_swept, true) {
            tokio::spawn(keep_sweeping(Arc::downgrade(self), self.period));
        }
    }

    /// Closes what is too old or was closed by its upstream. Whether anything is left.
    fn sweep(&self) -> bool {
        let mut kept = self.locked();
        let mut is_any_left = false;
        for (_, stack) in &mut kept.stacks {
            stack.retain_mut(|waiting| {
                waiting.age += 1;
                waiting.age < self.lives && waiting.connection.is_quiet()
            });
            is_any_left |= !stack.is_empty();
        }
        kept.is_swept = is_any_left;
        is_any_left
    }

    /// How many connections to `address` wait.
    #[cfg(test)]
    pub(super) fn count(&self, address: &Address) -> usize {
        let mut kept = self.locked();
        let Place(place) = kept.place(address);
        kept.stacks[place].1.len()
    }

    /// Connections are whole between any two uses, so a poisoned lock is as good as any.
    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn place(&mut self, address: &Address) -> Place {
        let known = self.stacks.iter().position(|(known, _)| known == address);
        let place = known.unwrap_or_else(|| {
            self.stacks.push((address.clone(), Vec::new()));
            self.stacks.len() - 1
        });
        Place(place)
    }
}

async fn keep_sweeping(idle: Weak<Idle>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        if !idle.upgrade().is_some_and(|idle| idle.sweep()) {
            return;
        }
    }
}
