//! For how long an identity is remembered, and for which requests.

use std::time::{Duration, Instant};

use super::{at_once, by_credential, credentials, status, world, world_with};
use crate::support::callback::{Reply, Scripted};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Ask, World};

/// How many calls so many listings with one credential cause.
fn calls_of(service: &Scripted, world: &World, credential: &str, requests: usize) -> usize {
    let before = service.count();
    for _ in 0..requests {
        status(world, credential);
    }
    service.count() - before
}

#[test]
fn an_answer_says_whether_it_is_remembered() {
    let service = Scripted::always(Reply::allow());
    let with_ttl = world_with(&service, |setup| setup.env("AUTH_CALLBACK_CACHE_TTL", "30s"));
    let without = world(&service);
    let control = |value: &str| Reply::allow().with("Cache-Control", value);
    for (number, (reply, calls, calls_with_ttl)) in [
        (Reply::allow(), 3, 1),
        (control("max-age=30"), 1, 1),
        (control("private, max-age=30"), 1, 1),
        (control("Max-Age=30"), 1, 1),
        (control("max-age=0"), 3, 3),
        (control("no-store"), 3, 3),
        (control("max-age=30, no-store"), 3, 3),
        (control("No-Store").max_age(30), 3, 3),
    ]
    .into_iter()
    .enumerate()
    {
        service.now(reply.clone());
        let credential = format!("key-{number}");
        assert_eq!(calls_of(&service, &without, &credential, 3), calls, "{reply:?}");
        assert_eq!(calls_of(&service, &with_ttl, &credential, 3), calls_with_ttl, "{reply:?}");
    }
}

#[test]
fn what_was_remembered_is_asked_again_in_time() {
    let service = Scripted::always(Reply::allow().max_age(1));
    let world = world(&service);
    let since = Instant::now();
    assert_eq!(status(&world, "key"), 200);
    service.now(Reply::status(401));
    eventually("the service is asked again", PATIENCE, || status(&world, "key") == 401);
    let elapsed = since.elapsed();
    assert!(elapsed > Duration::from_millis(800), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    assert_eq!(service.count(), 2);
}

#[test]
fn definite_refusals_are_remembered_for_a_moment_where_they_ask_for_it() {
    let service = Scripted::always(Reply::status(401));
    let world = world(&service);
    assert_eq!(calls_of(&service, &world, "unasked", 3), 3);
    service.now(Reply::status(401).with("Cache-Control", "max-age=30, no-store"));
    assert_eq!(calls_of(&service, &world, "never", 3), 3);
    for number in [204, 302, 404, 429, 500, 503] {
        service.now(Reply::status(number).max_age(30));
        assert_eq!(calls_of(&service, &world, &format!("key-{number}"), 3), 3, "{number}");
    }
    for number in [403, 401] {
        service.now(Reply::status(number).max_age(30));
        assert_eq!(calls_of(&service, &world, &format!("key-{number}"), 3), 1, "{number}");
    }
    // Five seconds at most, whatever they ask for.
    service.now(Reply::allow());
    let since = Instant::now();
    eventually("it is asked again", PATIENCE, || status(&world, "key-401") == 200);
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
}

/// Requests of which no two are alike in what the service is told, and one more that is told like the first.
fn requests(key: &str) -> ([Ask; 7], Ask) {
    let get = |path: &str| Ask::get(path).host("one.test").header("X-Forwarded-For", "203.0.113.1");
    let first = get("/sandboxes").key(key);
    let different = [
        first.clone(),
        get("/sandboxes").bearer(key),
        get("/sandboxes").key(&format!("{key}x")),
        get("/templates").key(key),
        Ask::new("HEAD", "/sandboxes")
            .host("one.test")
            .header("X-Forwarded-For", "203.0.113.1")
            .key(key),
        Ask::get("/sandboxes").host("two.test").header("X-Forwarded-For", "203.0.113.1").key(key),
        Ask::get("/sandboxes").host("one.test").header("X-Forwarded-For", "203.0.113.2").key(key),
    ];
    let alike = get("/sandboxes?state=running").key(key).header("X-Request-Id", "another");
    (different, alike)
}

#[test]
fn requests_that_differ_in_anything_told_share_nothing() {
    let service = Scripted::always(Reply::allow().max_age(60));
    let world = world_with(&service, |setup| setup.flag("--trusted-proxies=127.0.0.1/32"));
    let (different, alike) = requests("key");
    for round in 0..2 {
        for ask in &different {
            assert_eq!(ask.send(world.control()).status, 200, "{ask:?}");
        }
        assert_eq!(service.count(), different.len(), "round {round}");
    }
    assert_eq!(alike.send(world.control()).status, 200);
    assert_eq!(service.count(), different.len());
}

#[test]
fn requests_share_by_credential_where_the_settings_say_so() {
    let service = Scripted::always(Reply::allow().max_age(60));
    let world = world_with(&service, |setup| {
        let setup = setup.env("AUTH_CALLBACK_CACHE_BY", "credential");
        setup.flag("--trusted-proxies=127.0.0.1/32")
    });
    let (different, alike) = requests("key");
    for ask in different.iter().chain([&alike]) {
        assert_eq!(ask.send(world.control()).status, 200, "{ask:?}");
    }
    let asked: Vec<_> = service.calls().iter().map(|call| call.credential().to_owned()).collect();
    // As a key, as a Bearer, and another key.
    assert_eq!(asked, ["key", "key", "keyx"]);
}

/// Two requests each, told apart only by where one part ends and the next begins.
#[test]
fn requests_that_look_alike_when_run_together_share_nothing() {
    let service = Scripted::always(Reply::allow().max_age(60));
    let world = world(&service);
    let ask = |key: &str, path: &str, host: &str| Ask::get(path).key(key).host(host);
    let asks = [
        ask("k", "/sandboxes", "a.test"),
        ask("kGET", "/sandboxes", "a.test"),
        ask("kGET/sandboxes", "/sandboxes", "a.test"),
        ask("k/sandboxes", "/sandboxes", "a.test"),
        ask("k|GET|/sandboxes|a.test", "/sandboxes", "a.test"),
        ask("k,GET,/sandboxes", "/sandboxes", "a.test"),
        ask("k", "/nowhere/i1", "23.test"),
        ask("k", "/nowhere/i12", "3.test"),
        ask("k", "/nowhere/i", "123.test"),
        ask("api_keyk", "/sandboxes", "a.test"),
        ask("bearerk", "/sandboxes", "a.test"),
        Ask::get("/sandboxes").bearer("k").host("a.test"),
        Ask::get("/sandboxes").bearer("_keyk").host("a.test"),
    ];
    for (number, ask) in asks.iter().enumerate() {
        assert!(ask.send(world.control()).status < 500);
        assert_eq!(service.count(), number + 1, "{ask:?}");
    }
    for ask in &asks {
        assert!(ask.send(world.control()).status < 500);
    }
    assert_eq!(service.count(), asks.len());
}

#[test]
fn strangers_cannot_push_out_what_is_remembered() {
    let service = Scripted::start(|call| by_credential(call).max_age(60));
    let world = world(&service);
    assert_eq!(status(&world, "team-x.ada.exec"), 200);
    let statuses = at_once(&world, &credentials("stranger", 3000));
    assert!(statuses.iter().all(|status| *status == 401));
    let before = service.count();
    assert_eq!(status(&world, "team-x.ada.exec"), 200);
    assert_eq!(service.count(), before);
}
