//! What one client's address may cost the service: calls at once, and calls that come to nothing.
//!
//! Guessed credentials each cost a call; so do requests that are sent and taken back at once. Both are paid for out of
//! a bucket that fills up again over ten seconds. Calls that admit somebody, or that the service failed, are free.
//! Hand-written because limiters that can be bought cannot give back.

use std::hash::{Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::shelf::Shelf;

/// Addresses kept.
const CAPACITY: usize = 100_000;
/// In which an empty bucket fills up.
const REFILL: Duration = Duration::from_secs(10);
/// An address that was silent for so long has a full bucket and no call under way: it need not be kept.
const IDLE: Duration = Duration::from_secs(120);

/// Whose calls are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Address {
    V4([u8; 4]),
    /// The network's half: the other half is the client's to choose.
    V6([u8; 8]),
    Unknown,
}

/// Two numbers at once, which is quicker than byte by byte.
impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (kind, number) = match self {
            Self::V4(octets) => (4, u64::from(u32::from_ne_bytes(*octets))),
            Self::V6(octets) => (6, u64::from_ne_bytes(*octets)),
            Self::Unknown => (0, 0),
        };
        state.write_u64(number);
        state.write_u8(kind);
    }
}

impl Address {
    fn of(client: Option<IpAddr>) -> Self {
        match client.map(|client| client.to_canonical()) {
            Some(IpAddr::V4(address)) => Self::V4(address.octets()),
            Some(IpAddr::V6(address)) => {
                let octets = address.octets();
                Self::V6(octets.first_chunk().copied().unwrap_or_default())
            }
            None => Self::Unknown,
        }
    }
}

/// All clients.
#[derive(Debug)]
pub(super) struct Budgets {
    /// Those that came last have room of their own: to turn newcomers away would give each of their calls a new bucket.
    clients: Shelf<Address, Arc<Client>, RandomState>,
    size: NonZeroU32,
    places: usize,
    all_places: Semaphore,
}

impl Budgets {
    /// Budgets of `size`, with `calls` at once for all clients together.
    pub(super) fn new(size: NonZeroU32, calls: NonZeroUsize) -> Self {
        let calls = calls.get().min(Semaphore::MAX_PERMITS);
        Self {
            clients: Shelf::for_newcomers(CAPACITY, RandomState::new()),
            size,
            places: (calls / 2).max(1),
            all_places: Semaphore::new(calls),
        }
    }

    /// The one of an address.
    pub(super) fn client(&self, address: Option<IpAddr>, now: Instant) -> Arc<Client> {
        let address = Address::of(address);
        let (at, now) = (now, now.into_std());
        let (client, until) = self.clients.get_or_put(&address, now + 2 * IDLE, now, || {
            let size = f64::from(self.size.get());
            let bucket = Mutex::new(Bucket { left: size, at });
            Arc::new(Client { size, bucket, places: Semaphore::new(self.places) })
        });
        // Not each time, as that takes a lock.
        if until < now + IDLE {
            self.clients.put(address, Arc::clone(&client), now + 2 * IDLE, now);
        }
        client
    }

    /// A place, if one is free among the client's calls and among all. Who waits for one comes first.
    pub(super) fn free_place<'a>(&'a self, client: &'a Client) -> Option<Place<'a>> {
        let own = client.places.try_acquire().ok()?;
        let shared = self.all_places.try_acquire().ok()?;
        Some(Place { _own: own, _shared: shared })
    }

    /// Waits for a place among the client's calls, then for one among all: whoever has enough under way keeps nobody
    /// else from a place.
    pub(super) async fn place<'a>(&'a self, client: &'a Client) -> Option<Place<'a>> {
        let own = client.places.acquire().await.ok()?;
        let shared = self.all_places.acquire().await.ok()?;
        Some(Place { _own: own, _shared: shared })
    }
}

/// Leave to have a call under way.
pub(super) struct Place<'a> {
    _own: SemaphorePermit<'a>,
    _shared: SemaphorePermit<'a>,
}

/// One address.
#[derive(Debug)]
pub(super) struct Client {
    size: f64,
    bucket: Mutex<Bucket>,
    places: Semaphore,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// What one call cost. Dropped, it is spent.
#[must_use]
pub(super) struct Paid<'a>(&'a Client);

impl Paid<'_> {
    /// The call cost nothing after all.
    pub(super) fn give_back(self) {
        let Self(client) = self;
        // Whatever is filled in later, there will be as much as if it had been before.
        let mut bucket = client.lock();
        bucket.left = (bucket.left + 1.0).min(client.size);
    }
}

impl Client {
    /// Whether a call could be paid for now.
    pub(super) fn can_pay(&self, now: Instant) -> bool {
        self.filled(now).left >= 1.0
    }

    /// Pays for a call that is about to be made, if that is possible.
    pub(super) fn pay(&self, now: Instant) -> Option<Paid<'_>> {
        let mut bucket = self.filled(now);
        if bucket.left < 1.0 {
            return None;
        }
        bucket.left -= 1.0;
        Some(Paid(self))
    }

    /// With what has come back by `now`. Whoever comes with an earlier moment than another changes nothing.
    fn filled(&self, now: Instant) -> MutexGuard<'_, Bucket> {
        let mut bucket = self.lock();
        let gone = now.saturating_duration_since(bucket.at).div_duration_f64(REFILL);
        bucket.left = (bucket.left + gone * self.size).min(self.size);
        bucket.at = bucket.at.max(now);
        bucket
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets(size: u32, calls: usize) -> Budgets {
        Budgets::new(NonZeroU32::new(size).unwrap(), NonZeroUsize::new(calls).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_spent_comes_back_in_ten_seconds() {
        let budgets = budgets(2, 2);
        let client = budgets.client("192.0.2.1".parse().ok(), Instant::now());
        let pay = || client.pay(Instant::now()).is_some();
        let can_pay = || client.can_pay(Instant::now());
        assert!(pay() && can_pay() && pay() && !pay());
        tokio::time::advance(Duration::from_millis(4_999)).await;
        assert!(!can_pay() && !pay());
        tokio::time::advance(Duration::from_millis(2)).await;
        let paid = client.pay(Instant::now()).unwrap();
        assert!(!pay());
        paid.give_back();
        let paid = client.pay(Instant::now()).unwrap();
        assert!(!pay());
        tokio::time::advance(REFILL * 5).await;
        paid.give_back();
        assert!(pay() && pay() && !pay());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_again_and_again_stays_the_same() {
        let budgets = budgets(1, 2);
        let client = || budgets.client("192.0.2.1".parse().ok(), Instant::now());
        let first = client();
        for _ in 0..10 {
            tokio::time::advance(IDLE - Duration::from_millis(1)).await;
            let _renewed = client();
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(Arc::ptr_eq(&first, &client()));
        }
        tokio::time::advance(2 * IDLE).await;
        assert!(!Arc::ptr_eq(&first, &client()));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_one_client_can_choose_from_are_one() {
        let budgets = budgets(1, 2);
        let table = [
            (Some("192.0.2.1"), true),
            (Some("192.0.2.2"), true),
            (Some("::ffff:192.0.2.1"), false),
            (Some("2001:db8::1"), true),
            (Some("2001:db8::ffff:0:0:2"), false),
            (Some("2001:db8:0:1::1"), true),
            (None, true),
            (None, false),
        ];
        for (address, has_budget) in table {
            let parsed = address.map(|address| address.parse().unwrap());
            let client = budgets.client(parsed, Instant::now());
            assert_eq!(client.pay(Instant::now()).is_some(), has_budget, "{address:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_gets_half_of_the_places() {
        let budgets = budgets(1, 3);
        let greedy = budgets.client("192.0.2.1".parse().ok(), Instant::now());
        let _first = budgets.place(&greedy).await.unwrap();
        let second = tokio::time::timeout(REFILL, budgets.place(&greedy)).await;
        assert!(second.is_err());
        let other = budgets.client("192.0.2.2".parse().ok(), Instant::now());
        assert!(budgets.place(&other).await.is_some());
        let (only, sole) =
            (super::Budgets::client(&budgets, None, Instant::now()), self::budgets(1, 1));
        assert!(sole.place(&only).await.is_some());
    }
}
