//! Sharing, remembering, forgetting and giving up, with a service that the test plays and time that it moves.

pub(in crate::callback) mod stage;

use std::num::{NonZeroU32, NonZeroUsize};

use tokio::time::Instant;

use super::*;
use crate::credential::{Credential, Kind};
use stage::{
    SECOND, UNAVAILABLE, allow, failure, head, known, refused, settings, settle, stage, with,
};

#[tokio::test(start_paused = true)]
async fn an_identity_is_remembered_for_as_long_as_the_answer_says() {
    let stage = stage(settings());
    let ada = known(stage.asked("k", allow("max-age=10")).await).unwrap();
    assert_eq!((ada.tenant.as_str(), ada.name.as_deref()), ("team-a", Some("ada")));
    tokio::time::advance(9 * SECOND - SECOND / 1000).await;
    let again = known(stage.remembered("k").await.unwrap()).unwrap();
    assert!(Arc::ptr_eq(&ada, &again));
    tokio::time::advance(SECOND + SECOND / 1000).await;
    assert!(stage.remembered("k").await.is_none());
    for control in ["", "no-store", "no-cache, max-age=10", "max-age=0"] {
        assert!(known(stage.asked("l", allow(control)).await).is_some());
        assert!(stage.remembered("l").await.is_none(), "{control}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_definite_refusals_are_remembered_and_not_for_long() {
    let stage = stage(Settings { cache_ttl: 60 * SECOND, ..settings() });
    for status in [401, 403] {
        let text = if status == 401 { "k" } else { "l" };
        let asked = stage.asked(text, head(status, &[("cache-control", "max-age=60")])).await;
        assert_eq!(refused(asked), Some(Refusal::Rejected));
        assert_eq!(refused(stage.remembered(text).await.unwrap()), Some(Refusal::Rejected));
    }
    tokio::time::advance(5 * SECOND).await;
    assert!(stage.remembered("k").await.is_none());
    for status in [201, 302, 400, 404, 429, 500, 503] {
        let asked = stage.asked("m", head(status, &[("cache-control", "max-age=60")])).await;
        assert_eq!(refused(asked), Some(Refusal::Rejected), "{status}");
        assert!(stage.remembered("m").await.is_none(), "{status}");
    }
    assert_eq!(refused(stage.asked("m", failure()).await), UNAVAILABLE);
    assert!(stage.remembered("m").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn identities_end_with_their_own_date() {
    let stage = stage(settings());
    let expired = head(200, &[("x-auth-expires", "2001-01-01T00:00:00Z")]);
    assert_eq!(refused(stage.asked("k", expired).await), Some(Refusal::Rejected));
    let soon =
        head(200, &[("x-auth-expires", "2100-01-01T00:00:00Z"), ("cache-control", "max-age=60")]);
    let ada = known(stage.asked("k", soon).await).unwrap();
    let last: UnixTime = "2100-01-01T00:00:00Z".parse().unwrap();
    let find = |now| async move {
        let key = with("k", 1, async |question| stage.desk.keys.answer(question)).await;
        let now = Now { instant: Instant::now(), time: now };
        stage.desk.remembered(&key, now).is_some()
    };
    assert!(ada.is_valid_at(UnixTime(last.0 - 1)));
    assert!(!find(last).await);
}

#[tokio::test(start_paused = true)]
async fn nonsense_admits_nobody_and_does_not_open_the_breaker() {
    let stage = stage(settings());
    for _ in 0..10 {
        let nonsense = head(200, &[("x-auth-scopes", "root"), ("cache-control", "max-age=60")]);
        assert_eq!(refused(stage.asked("k", nonsense).await), UNAVAILABLE);
        assert!(stage.remembered("k").await.is_none());
    }
    assert!(known(stage.asked("k", allow("")).await).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_asks_the_same_waits_for_one_call() {
    let stage = stage(settings());
    let asking: Vec<_> = (0..5).map(|_| stage.ask("k", 1)).collect();
    let other = stage.ask("l", 1);
    let (one, two) = (stage.call().await, stage.call().await);
    settle().await;
    one.send(allow("")).unwrap();
    two.send(head(401, &[])).unwrap();
    for asked in asking {
        assert!(known(asked.await.unwrap()).is_some());
    }
    assert_eq!(refused(other.await.unwrap()), Some(Refusal::Rejected));
    assert_eq!(stage.seen(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_comes_just_after_a_call_makes_none() {
    let stage = stage(settings());
    assert!(known(stage.asked("k", allow("max-age=10")).await).is_some());
    assert!(stage.joined("k").await);
    assert_eq!(stage.seen(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_fails_nobody_and_the_last_one_ends_the_call() {
    let stage = stage(settings());
    let (leader, follower) = (stage.ask("k", 1), stage.ask("k", 1));
    let mut reply = stage.call().await;
    settle().await;
    leader.abort();
    settle().await;
    assert!(!reply.is_closed());
    follower.abort();
    reply.closed().await;
    let (leader, follower) = (stage.ask("k", 1), stage.ask("k", 1));
    let reply = stage.call().await;
    settle().await;
    leader.abort();
    settle().await;
    reply.send(allow("")).unwrap();
    assert!(known(follower.await.unwrap()).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_stored_is_not_shared() {
    let stage = stage(settings());
    let asking: Vec<_> = (0..3).map(|_| stage.ask("k", 1)).collect();
    let first = stage.call().await;
    settle().await;
    first.send(allow("no-store")).unwrap();
    for _ in 0..2 {
        stage.call().await.send(head(401, &[("cache-control", "no-store")])).unwrap();
    }
    let mut admitted = 0;
    for asked in asking {
        admitted += usize::from(known(asked.await.unwrap()).is_some());
    }
    assert_eq!((admitted, stage.seen()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn whoever_waited_for_what_is_not_shared_has_no_more_time_than_others() {
    let stage = stage(settings());
    let started = Instant::now();
    let (leader, follower) = (stage.ask("k", 1), stage.ask("k", 1));
    let first = stage.call().await;
    settle().await;
    tokio::time::advance(4 * SECOND).await;
    first.send(allow("no-store")).unwrap();
    assert!(known(leader.await.unwrap()).is_some());
    let _held = stage.call().await;
    assert_eq!(refused(follower.await.unwrap()), UNAVAILABLE);
    assert!(started.elapsed() <= 5 * SECOND + SECOND / 100, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nor_does_forgetting_give_anybody_more_time() {
    let stage = stage(settings());
    let started = Instant::now();
    let asked = stage.ask("k", 1);
    let first = stage.call().await;
    tokio::time::advance(4 * SECOND).await;
    stage.desk.principals.flush();
    first.send(allow("")).unwrap();
    let _held = stage.call().await;
    assert_eq!(refused(asked.await.unwrap()), UNAVAILABLE);
    assert!(started.elapsed() <= 5 * SECOND + SECOND / 100, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn identities_that_have_ended_are_not_free() {
    let stage = stage(Settings { client_budget: NonZeroU32::new(2).unwrap(), ..settings() });
    let ended = || head(200, &[("x-auth-expires", "2001-01-01T00:00:00Z")]);
    for refusal in [Refusal::Rejected, Refusal::Rejected, Refusal::TooManyAttempts] {
        assert_eq!(refused(stage.asked("k", ended()).await), Some(refusal));
    }
}

#[test]
fn when_a_worker_ends_its_calls_are_made_anew() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ending, staying) = (runtime(), runtime());
    let stage = stage(settings());
    let leader = ending.block_on(async {
        let leader = stage.ask("k", 1);
        (leader, stage.call().await)
    });
    staying.block_on(async {
        let follower = stage.ask("k", 1);
        settle().await;
        assert_eq!(stage.seen(), 1);
        ending.shutdown_background();
        stage.call().await.send(allow("")).unwrap();
        assert!(known(follower.await.unwrap()).is_some());
    });
    drop(leader);
}

#[tokio::test(start_paused = true)]
async fn what_is_flushed_under_way_admits_nobody() {
    let stage = stage(settings());
    assert!(known(stage.asked("k", allow("max-age=60")).await).is_some());
    stage.desk.principals.flush();
    assert!(stage.remembered("k").await.is_none());
    let asked = stage.ask("k", 1);
    let reply = stage.call().await;
    stage.desk.principals.flush();
    reply.send(allow("max-age=60")).unwrap();
    let again = stage.call().await;
    assert!(stage.remembered("k").await.is_none());
    again.send(head(401, &[])).unwrap();
    assert_eq!(refused(asked.await.unwrap()), Some(Refusal::Rejected));
    let asked = stage.ask("k", 1);
    for _ in 0..ROUNDS {
        let reply = stage.call().await;
        stage.desk.principals.flush();
        reply.send(allow("max-age=60")).unwrap();
    }
    assert_eq!(refused(asked.await.unwrap()), UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_purge_beats_memory_and_calls_under_way() {
    let stage = stage(Settings { stale_if_error: 600 * SECOND, ..settings() });
    let first = known(stage.asked("k", allow("max-age=60")).await).unwrap();
    let asked = stage.ask("l", 1);
    let reply = stage.call().await;
    assert!(stage.desk.principals.purge(&first.key).unwrap());
    assert!(first.revocation.is_revoked() && stage.remembered("k").await.is_none());
    reply.send(allow("max-age=60")).unwrap();
    stage.call().await.send(allow("max-age=60")).unwrap();
    let second = known(asked.await.unwrap()).unwrap();
    assert_ne!(second.key, first.key);
    assert_eq!(refused(stage.asked("k", failure()).await), UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn one_address_pays_for_what_comes_to_nothing() {
    let stage = stage(Settings { client_budget: NonZeroU32::new(2).unwrap(), ..settings() });
    for _ in 0..10 {
        assert!(known(stage.asked("good", allow("")).await).is_some());
        assert_eq!(refused(stage.asked("k", head(503, &[])).await), Some(Refusal::Rejected));
    }
    let abandoned = stage.ask("k", 1);
    let mut reply = stage.call().await;
    abandoned.abort();
    reply.closed().await;
    assert_eq!(refused(stage.asked("k", head(401, &[])).await), Some(Refusal::Rejected));
    let seen = stage.seen();
    let turned_away = refused(stage.asked("l", allow("")).await);
    assert_eq!((turned_away, stage.seen()), (Some(Refusal::TooManyAttempts), seen));
    let other = stage.ask("l", 2);
    stage.call().await.send(allow("")).unwrap();
    assert!(known(other.await.unwrap()).is_some());
    tokio::time::advance(5 * SECOND).await;
    assert!(known(stage.asked("l", allow("")).await).is_some());
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_none_whether_waiting_or_calling() {
    let stage = stage(Settings { max_calls: NonZeroUsize::new(1).unwrap(), ..settings() });
    let started = Instant::now();
    let (calling, waiting) = (stage.ask("k", 1), stage.ask("l", 2));
    let _held = stage.call().await;
    assert_eq!(refused(waiting.await.unwrap()), UNAVAILABLE);
    assert_eq!(refused(calling.await.unwrap()), UNAVAILABLE);
    assert!(started.elapsed() <= 5 * SECOND + SECOND / 100);
    assert_eq!(stage.seen(), 1);
    assert!(known(stage.asked("l", allow("")).await).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_answer_is_left_alone_and_costs_nobody_anything() {
    let stage = stage(Settings { client_budget: NonZeroU32::new(3).unwrap(), ..settings() });
    for _ in 0..3 {
        let asked = stage.ask("k", 1);
        let _held = stage.call().await;
        assert_eq!(refused(asked.await.unwrap()), UNAVAILABLE);
    }
    assert!(stage.desk.breaker.is_open());
    for _ in 0..3 {
        assert_eq!(refused(stage.asked("k", allow("")).await), UNAVAILABLE);
    }
    assert_eq!(stage.seen(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_left_alone() {
    let stage = stage(settings());
    for _ in 0..3 {
        assert_eq!(refused(stage.asked("k", failure()).await), UNAVAILABLE);
    }
    assert_eq!(refused(stage.asked("k", allow("")).await), UNAVAILABLE);
    assert_eq!(stage.seen(), 3);
    tokio::time::advance(10 * SECOND).await;
    let probe = stage.ask("k", 1);
    let reply = stage.call().await;
    assert_eq!(refused(stage.ask("l", 1).await.unwrap()), UNAVAILABLE);
    reply.send(allow("")).unwrap();
    assert!(known(probe.await.unwrap()).is_some());
    assert!(known(stage.asked("l", allow("")).await).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_answers_is_not_left_alone_whatever_it_says() {
    let stage = stage(settings());
    for _ in 0..10 {
        assert_eq!(refused(stage.asked("k", head(503, &[])).await), Some(Refusal::Rejected));
    }
    assert!(known(stage.asked("k", allow("")).await).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_old_identity_stands_in_where_that_is_allowed() {
    let stage = stage(Settings { stale_if_error: 60 * SECOND, ..settings() });
    let ada = known(stage.asked("k", allow("max-age=10")).await).unwrap();
    tokio::time::advance(11 * SECOND).await;
    for answer in [head(500, &[]), head(503, &[]), failure(), failure(), failure(), failure()] {
        let old = known(stage.asked("k", answer).await).unwrap();
        assert!(Arc::ptr_eq(&old, &ada));
    }
    assert_eq!(stage.seen(), 6);
    tokio::time::advance(60 * SECOND).await;
    assert_eq!(refused(stage.asked("k", failure()).await), UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn an_old_identity_does_not_outlive_a_refusal_or_a_flush() {
    let stage = stage(Settings { stale_if_error: 600 * SECOND, ..settings() });
    for status in [401, 403, 404, 302] {
        assert!(known(stage.asked("k", allow("max-age=10")).await).is_some());
        tokio::time::advance(11 * SECOND).await;
        assert_eq!(refused(stage.asked("k", head(status, &[])).await), Some(Refusal::Rejected));
        assert_eq!(refused(stage.asked("k", failure()).await), UNAVAILABLE, "{status}");
        tokio::time::advance(11 * SECOND).await;
    }
    assert!(known(stage.asked("k", allow("max-age=10")).await).is_some());
    stage.desk.principals.flush();
    assert_eq!(refused(stage.asked("k", head(500, &[])).await), Some(Refusal::Rejected));
}

#[tokio::test(start_paused = true)]
async fn what_was_good_is_known_as_ours_however_it_comes() {
    let stage = stage(settings());
    let admitted = |text| {
        let credential = Credential::new(Kind::ApiKey, text);
        stage.desk.memory.has_admitted(&stage.desk.keys.text(&credential))
    };
    assert!(known(stage.asked("k", allow("no-store")).await).is_some());
    assert_eq!(refused(stage.asked("l", head(401, &[])).await), Some(Refusal::Rejected));
    assert!(admitted("k") && !admitted("l"));
    stage.desk.principals.flush();
    assert!(admitted("k"));
    // For an hour after it was good last, and two minutes more at most.
    for _ in 0..3 {
        tokio::time::advance(3000 * SECOND).await;
        assert!(known(stage.asked("k", allow("no-store")).await).is_some());
    }
    tokio::time::advance(3600 * SECOND).await;
    assert!(admitted("k"));
    tokio::time::advance(120 * SECOND).await;
    assert!(!admitted("k"));
}
