//! What two processes count together while one takes the other's place.

use super::*;
use crate::quota::{Admission, AtLimit, Ledger as _, Reservation};

const POLICY: Policy = Policy { grace: crate::quota::GRACE, honours_keys: true };

fn tenant() -> TenantId {
    TenantId::parse("team-a").unwrap()
}

fn id(name: &str) -> SandboxId {
    SandboxId::parse(name).unwrap()
}

async fn ask(ledger: &MemoryLedger, limit: u32) -> Admission {
    let (tenant, now) = (tenant(), clock::instant());
    let start = Start::One(None);
    ledger.reserve(Ask { tenant: &tenant, limit: Some(limit), start, now }).await.unwrap()
}

/// A listing that finds these.
async fn list(ledger: &MemoryLedger, ids: &[&str]) {
    let mark = ledger.begin_listing(clock::instant()).await.unwrap();
    let ids = ids.iter().map(|name| id(name)).collect();
    ledger.apply_listing(&tenant(), mark, &ids).await.unwrap();
}

async fn admitted(ledger: &MemoryLedger, limit: u32) -> Reservation {
    let Admission::Admitted(reservation) = ask(ledger, limit).await else { panic!("not admitted") };
    reservation
}

async fn is_full(ledger: &MemoryLedger, limit: u32) -> bool {
    matches!(ask(ledger, limit).await, Admission::AtLimit(AtLimit { .. }))
}

/// An old process with requests under way for two sandboxes, and one in doubt; and what it tells later.
struct Change {
    old: MemoryLedger,
    told: Arc<Mutex<Vec<Told>>>,
    under_way: Vec<Reservation>,
    slots: Vec<OpenSlot>,
}

impl Change {
    async fn begin(old: MemoryLedger) -> Self {
        let _ = ask(&old, 9).await;
        list(&old, &[]).await;
        let under_way = vec![admitted(&old, 9).await, admitted(&old, 9).await];
        drop(admitted(&old, 9).await);
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let tell = Arc::clone(&told);
        let slots = old.hand_over(move |what| tell.lock().unwrap().push(what));
        Self { old, told, under_way, slots }
    }

    fn tell(&self, to: &MemoryLedger) {
        for told in std::mem::take(&mut *self.told.lock().unwrap()) {
            to.hear(told);
        }
    }
}

#[tokio::test]
async fn requests_under_way_are_counted_by_the_new_process_until_they_end() {
    let mut change = Change::begin(MemoryLedger::new(POLICY)).await;
    let new = MemoryLedger::inherit(POLICY, None, change.slots.clone()).unwrap();
    assert!(matches!(ask(&change.old, 9).await, Admission::Moved));
    assert!(matches!(ask(&new, 3).await, Admission::Unlisted));
    list(&new, &[]).await;
    assert!(is_full(&new, 3).await, "all three are open");
    change.under_way.pop().unwrap().release().await.unwrap();
    assert!(is_full(&new, 3).await, "nobody has said so yet");
    change.tell(&new);
    let third = admitted(&new, 3).await;
    change.under_way.pop().unwrap().bind(&[id("i1")]).await.unwrap();
    change.tell(&new);
    let standing = new.standing(&tenant()).await.unwrap();
    assert_eq!((standing.active, standing.pending, standing.in_doubt), (1, 2, 1));
    third.release().await.unwrap();
}

#[tokio::test]
async fn a_sandbox_that_both_a_listing_and_its_request_show_counts_once() {
    let mut change = Change::begin(MemoryLedger::new(POLICY)).await;
    change.slots.retain(|open| open.is_under_way);
    let new = MemoryLedger::inherit(POLICY, None, change.slots.clone()).unwrap();
    let _ = ask(&new, 9).await;
    list(&new, &["i1"]).await;
    change.under_way.pop().unwrap().bind(&[id("i1")]).await.unwrap();
    change.under_way.pop().unwrap().release().await.unwrap();
    change.tell(&new);
    let standing = new.standing(&tenant()).await.unwrap();
    assert_eq!((standing.active, standing.pending, standing.in_doubt), (1, 0, 0));
}

#[tokio::test]
async fn what_a_process_that_is_gone_did_not_tell_is_in_doubt() {
    let change = Change::begin(MemoryLedger::new(POLICY)).await;
    let new = MemoryLedger::inherit(POLICY, None, change.slots.clone()).unwrap();
    new.hear_no_more();
    let standing = new.standing(&tenant()).await.unwrap();
    assert_eq!((standing.pending, standing.in_doubt), (3, 3));
}

#[tokio::test]
async fn the_file_tells_of_everything_whoever_writes_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("quota");
    let mut change = Change::begin(MemoryLedger::open(POLICY, &file).unwrap()).await;
    let new = MemoryLedger::inherit(POLICY, Some(&file), change.slots.clone()).unwrap();
    // The old process does not touch the file any more.
    change.under_way.pop().unwrap().release().await.unwrap();
    let killed = async |file: &Path| {
        MemoryLedger::open(POLICY, file).unwrap().standing(&tenant()).await.unwrap().in_doubt
    };
    let copy = directory.path().join("copy");
    std::fs::copy(&file, &copy).unwrap();
    assert_eq!(killed(&copy).await, 3);
    change.tell(&new);
    std::fs::copy(&file, &copy).unwrap();
    assert_eq!(killed(&copy).await, 2);
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_the_count_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("quota");
    let mut change = Change::begin(MemoryLedger::open(POLICY, &file).unwrap()).await;
    drop(MemoryLedger::inherit(POLICY, Some(&file), change.slots.clone()).unwrap());
    change.under_way.pop().unwrap().release().await.unwrap();
    change.old.take_back();
    let last = admitted(&change.old, 3).await;
    assert!(is_full(&change.old, 3).await);
    drop(last);
    let copy = directory.path().join("copy");
    std::fs::copy(&file, &copy).unwrap();
    let later = MemoryLedger::open(POLICY, &copy).unwrap();
    assert_eq!(later.standing(&tenant()).await.unwrap().in_doubt, 3);
}
