//! Connections that wait for their next request.
//!
//! The one that was used last goes first, so that those which are not needed grow old and are closed. Nobody reads on them: whether the
//! upstream has closed one is seen when it is taken, and by a sweep, which runs only while there are any.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::uri::Authority;
use tokio::sync::Notify;

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
    /// There is something to sweep, or never will be.
    wanted: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By address; as many as are configured, at most.
    stacks: Vec<(Authority, Vec<Waiting>)>,
    is_swept: bool,
}

#[derive(Debug)]
struct Waiting {
    connection: Box<Connection>,
    /// Sweeps outlived.
    age: u32,
}

impl Idle {
    /// No connections. Each is closed after `timeout`. Call it inside the worker's runtime.
    pub(super) fn new(timeout: Duration) -> Arc<Self> {
        let wanted = Arc::new(Notify::new());
        let idle = Arc::new(Self { kept: Mutex::default(), wanted: Arc::clone(&wanted) });
        let period = PERIOD.min(timeout / FEWEST).max(Duration::from_millis(1));
        let lives = timeout.as_nanos().div_euclid(period.as_nanos());
        let lives = u32::try_from(lives).unwrap_or(u32::MAX);
        tokio::spawn(sweep(Arc::downgrade(&idle), wanted, period, lives));
        idle
    }

    /// A connection to `address` on which a request can be sent.
    pub(super) fn take(&self, address: &Authority) -> Option<Box<Connection>> {
        let mut kept = self.locked();
        let stack = kept.stack(address)?;
        std::iter::from_fn(|| stack.pop())
            .map(|waiting| waiting.connection)
            .find(|connection| connection.is_quiet())
    }

    /// Keeps a connection that has carried an answer to its end.
    pub(super) fn put(&self, address: &Authority, mut connection: Box<Connection>) {
        if !connection.is_quiet() {
            return;
        }
        connection.rest();
        let waiting = Waiting { connection, age: 0 };
        let mut kept = self.locked();
        match kept.stack(address) {
            Some(stack) if stack.len() < MOST => stack.push(waiting),
            Some(_) => return,
            None => kept.stacks.push((address.clone(), vec![waiting])),
        }
        if !std::mem::replace(&mut kept.is_swept, true) {
            self.wanted.notify_one();
        }
    }

    /// Closes what is too old or was closed by its upstream. Whether anything is left.
    fn sweep(&self, lives: u32) -> bool {
        let mut kept = self.locked();
        let mut is_any_left = false;
        for (_, stack) in &mut kept.stacks {
            stack.retain_mut(|waiting| {
                waiting.age += 1;
                waiting.age < lives && waiting.connection.is_quiet()
            });
            is_any_left |= !stack.is_empty();
        }
        kept.is_swept = is_any_left;
        is_any_left
    }

    /// How many connections to `address` wait.
    #[cfg(test)]
    pub(super) fn count(&self, address: &Authority) -> usize {
        self.locked().stack(address).map_or(0, |stack| stack.len())
    }

    /// Connections are whole between any two uses, so a poisoned lock is as good as any.
    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn stack(&mut self, address: &Authority) -> Option<&mut Vec<Waiting>> {
        let named = self.stacks.iter_mut().find(|(known, _)| known == address);
        named.map(|(_, stack)| stack)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.wanted.notify_one();
    }
}

async fn sweep(idle: Weak<Idle>, wanted: Arc<Notify>, period: Duration, lives: u32) {
    loop {
        tokio::time::sleep(period).await;
        let Some(is_any_left) = idle.upgrade().map(|idle| idle.sweep(lives)) else { return };
        if !is_any_left {
            wanted.notified().await;
        }
    }
}
