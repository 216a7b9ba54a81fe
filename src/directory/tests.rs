//! What is remembered, what is asked, and what a kill outdates.

use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderValue;

use super::lifetimes::known_for;
use super::*;
use crate::clock::UnixTime;

fn id(text: &str) -> SandboxId {
    SandboxId::parse(text).unwrap()
}

pub(super) fn sandbox(text: &str) -> Sandbox {
    Sandbox {
        id: id(text),
        tenant: TenantId::parse("team-a").ok(),
        marker: Marker::Present,
        state: State::Running,
        ends: None,
        envd_token: None,
        traffic_token: None,
    }
}

fn untold(text: &str) -> Sandbox {
    Sandbox { tenant: None, marker: Marker::Untold, ..sandbox(text) }
}

/// What is known without asking.
async fn known(directory: &Directory, text: &str) -> Option<Arc<Sandbox>> {
    match directory.find(&id(text), async || Err(Unavailable)).await {
        Ok(Entry::Known(sandbox)) => Some(sandbox),
        Ok(Entry::Absent) | Err(Unavailable) => None,
    }
}

#[tokio::test]
async fn concurrent_look_ups_ask_once() {
    let (directory, asked) = (Directory::default(), AtomicU32::new(0));
    let (release, gate) = tokio::sync::watch::channel(false);
    let ask = || async {
        asked.fetch_add(1, Ordering::Relaxed);
        gate.clone().wait_for(|open| *open).await.map_err(|_| Unavailable)?;
        Ok(Some(sandbox("i1")))
    };
    let i1 = id("i1");
    let ((), a, b) = tokio::join!(
        async {
            release.send_replace(true);
        },
        directory.find(&i1, ask),
        directory.find(&i1, ask),
    );
    assert!(matches!((a, b), (Ok(Entry::Known(_)), Ok(Entry::Known(_)))));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn failures_are_not_remembered() {
    let directory = Directory::default();
    let failed = directory.find(&id("i1"), async || Err(Unavailable)).await;
    assert_eq!(failed.err(), Some(Unavailable));
    let found = directory.find(&id("i1"), async || Ok(Some(sandbox("i1")))).await;
    assert!(matches!(found, Ok(Entry::Known(record)) if record.id == id("i1")));
}

#[tokio::test]
async fn what_was_learnt_is_not_asked_and_what_was_forgotten_is() {
    let directory = Directory::default();
    for name in ["i1", "i2"] {
        directory.learn(sandbox(name), directory.now());
    }
    assert!(directory.remembers(&id("i1")) && known(&directory, "i2").await.is_some());
    directory.forget(&id("i1"), true);
    let found = directory.find(&id("i1"), async || Ok(None)).await;
    assert!(matches!(found, Ok(Entry::Absent)));
    assert!(known(&directory, "i2").await.is_some());
}

#[tokio::test]
async fn what_was_under_way_across_a_kill_counts_for_nothing() {
    let directory = Directory::default();
    let before = directory.now();
    let asked = AtomicU32::new(0);
    let (i1, kill) = (id("i1"), tokio::sync::Notify::new());
    let ask = || async {
        if asked.fetch_add(1, Ordering::Relaxed) > 0 {
            return Ok(None);
        }
        kill.notify_one();
        // The upstream answered before the kill, and the answer is on its way for as long as that takes.
        while directory.now() == before {
            tokio::task::yield_now().await;
        }
        Ok(Some(sandbox("i1")))
    };
    let killed = async {
        kill.notified().await;
        directory.forget(&i1, true);
    };
    let (found, ()) = tokio::join!(directory.find(&i1, ask), killed);
    assert!(matches!(found, Ok(Entry::Absent)), "asked anew");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    // An answer of another kind that comes as late.
    directory.learn(sandbox("i1"), before);
    assert!(known(&directory, "i1").await.is_none());
    // Other sandboxes are not concerned, nor is what is asked from now on.
    directory.learn(sandbox("i2"), before);
    assert!(known(&directory, "i2").await.is_some());
    directory.learn(sandbox("i1"), directory.now());
    assert!(known(&directory, "i1").await.is_some());
}

#[tokio::test]
async fn all_names_of_a_sandbox_are_one() {
    for (learnt, killed) in [
        ("i1-client", "i1"),
        ("i1-client", "i1-client"),
        ("i1-other", "i1-client"),
        ("i1", "i1-new"),
    ] {
        let directory = Directory::default();
        let ask = async || Ok(Some(sandbox("i1")));
        directory.find(&id(learnt), ask).await.unwrap();
        let own = known(&directory, "i1").await.unwrap();
        assert!(Arc::ptr_eq(&own, &known(&directory, learnt).await.unwrap()));
        directory.turned(&id(learnt), State::Paused);
        for name in [learnt, "i1"] {
            assert_eq!(known(&directory, name).await.unwrap().state, State::Paused, "{name}");
        }
        directory.forget(&id(killed), true);
        for name in [learnt, "i1", killed] {
            assert!(known(&directory, name).await.is_none(), "{name} after {killed} was killed");
        }
    }
}

#[tokio::test]
async fn a_list_tells_whose_a_sandbox_is_and_nothing_of_its_tokens() {
    let directory = Directory::default();
    let ours = sandbox("i1").tenant;
    let before = directory.now();
    let whose = async |text: &str| match directory.whose(&id(text), async || Err(Unavailable)).await
    {
        Ok(Entry::Known(found)) => Ok(found.tenant.clone()),
        Ok(Entry::Absent) => Ok(None),
        Err(unavailable) => Err(unavailable),
    };
    directory.learn_owner(&id("i1"), ours.as_ref().unwrap(), before);
    assert_eq!(whose("i1").await, Ok(ours.clone()));
    assert!(known(&directory, "i1").await.is_none(), "a token is needed: the upstream is asked");
    // What was told of it alone counts for more.
    let theirs = TenantId::parse("team-b").ok();
    let told = Sandbox { tenant: theirs.clone(), ..sandbox("i1") };
    directory.learn(told, directory.now());
    assert_eq!(whose("i1").await, Ok(theirs));
    // A kill outdates it under every name, and lists that were under way.
    for name in ["i1", "i1-client"] {
        directory.learn_owner(&id("i1"), ours.as_ref().unwrap(), directory.now());
        directory.forget(&id(name), true);
        assert_eq!(whose("i1").await, Err(Unavailable), "{name}");
        directory.learn_owner(&id("i1"), ours.as_ref().unwrap(), before);
        assert_eq!(whose("i1").await, Err(Unavailable), "{name}");
    }
    directory.learn_owner(&id("i1"), ours.as_ref().unwrap(), directory.now());
    assert_eq!(whose("i1").await, Ok(ours));
}

#[tokio::test]
async fn a_traffic_token_outlives_answers_that_do_not_tell_it_but_not_its_sandbox() {
    let directory = Directory::default();
    let told = |token: Option<&'static str>| Sandbox {
        traffic_token: token.map(HeaderValue::from_static),
        ..sandbox("i1")
    };
    let token = async || match directory.find(&id("i1"), async || Ok(Some(sandbox("i1")))).await {
        Ok(Entry::Known(sandbox)) => sandbox.traffic_token.clone(),
        Ok(Entry::Absent) | Err(Unavailable) => None,
    };
    directory.learn(told(Some("one")), directory.now());
    directory.learn(told(None), directory.now());
    assert_eq!(token().await.unwrap(), "one");
    let two = Some(HeaderValue::from_static("two"));
    directory.learn(Sandbox { traffic_token: two, ..untold("i1") }, directory.now());
    assert_eq!(token().await.unwrap(), "two");
    directory.forget(&id("i1"), false);
    assert_eq!(token().await, None);
}

#[tokio::test]
async fn an_answer_that_shows_no_metadata_changes_no_owner() {
    let directory = Directory::default();
    directory.learn(untold("i1"), directory.now());
    assert!(known(&directory, "i1").await.is_none(), "whose it is must be asked");
    directory.learn(sandbox("i1"), directory.now());
    let envd_token = Some(HeaderValue::from_static("new"));
    directory.learn(Sandbox { envd_token, ..untold("i1") }, directory.now());
    let now = known(&directory, "i1").await.unwrap();
    assert_eq!((&now.tenant, now.marker), (&sandbox("i1").tenant, Marker::Present));
    assert_eq!(now.envd_token.as_ref().unwrap(), "new");
}

#[tokio::test]
async fn the_own_record_counts_where_there_is_no_marker_and_only_there() {
    let directory = Directory::default();
    let (ours, theirs) = (TenantId::parse("team-a").unwrap(), TenantId::parse("team-b").unwrap());
    let told = |marker, tenant: Option<&TenantId>| Sandbox {
        tenant: tenant.cloned(),
        marker,
        ..sandbox("i1")
    };
    directory.ownership().bind(&id("i1"), &ours, true);
    for (told, owner) in [
        (told(Marker::Absent, None), Some(&ours)),
        (told(Marker::Present, Some(&theirs)), Some(&theirs)),
        (told(Marker::Present, None), None),
        (untold("i1"), None),
    ] {
        assert_eq!(directory.owner(&told).as_ref(), owner, "{told:?}");
    }
    directory.learn(told(Marker::Absent, None), directory.now());
    assert_eq!(known(&directory, "i1").await.unwrap().tenant.as_ref(), Some(&ours));
    // A 404 may come from a path that the upstream lacks; a kill is a kill.
    directory.forget(&id("i1-client"), false);
    assert_eq!(directory.owner(&told(Marker::Absent, None)).as_ref(), Some(&ours));
    directory.forget(&id("i1-client"), true);
    assert_eq!(directory.owner(&told(Marker::Absent, None)), None);
}

#[tokio::test]
async fn a_filter_for_the_marker_is_good_once_nothing_on_record_lacks_it() {
    let ours = TenantId::parse("team-a").unwrap();
    let absent = |text: &str| Sandbox { tenant: None, marker: Marker::Absent, ..sandbox(text) };
    let asked = AtomicU32::new(0);
    let count = || asked.fetch_add(1, Ordering::Relaxed);
    let directory = Directory::default();
    let marked = async |found: Asked| {
        let ask = |_: SandboxId| {
            count();
            std::future::ready(found.clone())
        };
        let marked = directory.are_marked(&ours, ask).await;
        (marked, asked.swap(0, Ordering::Relaxed))
    };
    assert_eq!(marked(Err(Unavailable)).await, (true, 0), "there is nothing to hide");
    // A fork, of which its own answer did not tell; nobody is believed who cannot be asked.
    directory.ownership().bind(&id("i1"), &ours, false);
    directory.learn(Sandbox { tenant: Some(ours.clone()), ..untold("i1") }, directory.now());
    assert_eq!(marked(Err(Unavailable)).await, (false, 1));
    assert_eq!(marked(Ok(Some(absent("i1")))).await, (false, 1));
    assert_eq!(marked(Ok(Some(sandbox("i1")))).await, (false, 0), "remembered");
    directory.learn(sandbox("i1"), directory.now());
    assert_eq!(marked(Err(Unavailable)).await, (true, 0), "its marker was seen by the way");
    directory.ownership().bind(&id("i2"), &ours, false);
    assert_eq!(marked(Ok(None)).await, (true, 1), "it is gone");
    directory.learn(absent("i2"), directory.now());
    assert_eq!(marked(Err(Unavailable)).await, (false, 0), "it is there after all");
    let theirs = TenantId::parse("team-b").unwrap();
    let nobody = |_: SandboxId| std::future::ready(Err(Unavailable));
    assert!(directory.are_marked(&theirs, nobody).await, "another's forks hide nothing of theirs");

    // Where markers are dropped no list can be filtered by them, and nothing needs to be asked for that.
    let dropping = Directory::default();
    dropping.ownership().bind(&id("i1"), &ours, true);
    dropping.learn(absent("i1"), dropping.now());
    assert!(!dropping.are_marked(&theirs, nobody).await);
}

#[test]
fn a_sandbox_whose_time_is_over_is_asked_about_again() {
    let now = UnixTime(1000);
    for (state, ends, seconds) in [
        (State::Running, None, 300),
        (State::Running, Some(1060), 60),
        (State::Running, Some(9000), 300),
        (State::Running, Some(1001), 5),
        (State::Running, Some(1), 5),
        (State::Paused, Some(1), 300),
        (State::Unknown, Some(1), 300),
    ] {
        let told = Sandbox { state, ends: ends.map(UnixTime), ..sandbox("i1") };
        assert_eq!(known_for(&told, now).as_secs(), seconds, "{state:?} {ends:?}");
    }
}

#[tokio::test]
async fn what_is_not_theirs_is_asked_about_as_if_it_were_absent() {
    for remembered in [true, false] {
        let (directory, asked) = (Directory::default(), AtomicU32::new(0));
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(Some(sandbox("i1")))
        };
        if remembered {
            directory.learn(sandbox("i1"), directory.now());
        }
        let i1 = id("i1");
        for _ in 0..3 {
            let (a, b) = tokio::join!(
                directory.find_theirs(&i1, |_| false, ask),
                directory.whose_theirs(&i1, |_| false, ask),
            );
            assert!(a.unwrap().is_none() && b.unwrap().is_none());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1, "remembered: {remembered}");
        // Its owner is not made to wait for that.
        let own = directory.find_theirs(&i1, |_| true, async || Err(Unavailable)).await;
        assert!(own.unwrap().is_some());
    }
}

#[tokio::test]
async fn what_is_not_theirs_is_unavailable_when_an_absent_one_would_be() {
    let directory = Directory::default();
    directory.learn(sandbox("i1"), directory.now());
    let i1 = id("i1");
    for _ in 0..2 {
        let denied = directory.find_theirs(&i1, |_| false, async || Err(Unavailable)).await;
        assert_eq!(denied, Err(Unavailable));
    }
}
