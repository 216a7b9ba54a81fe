//! How connections leave for another process: with nothing lost, nothing closed, and no request torn in two.

use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn what_waits_leaves_at_once() {
    // Never used, between two requests, parked.
    for (used, quiet) in [(false, 0.5), (true, 0.0), (true, 0.5), (true, 60.0)] {
        let mut talk = Talk::new();
        if used {
            talk.ask("/one").await;
        }
        sleep(secs(quiet)).await;
        talk.hand_over();
        let (mut client, mut left) = talk.left().await;
        assert_eq!(left.is_used, used);
        // Both ends are as they were.
        client.write_all(b"ping").await.unwrap();
        left.io.write_all(b"pong").await.unwrap();
        let (mut there, mut here) = ([0; 4], [0; 4]);
        left.io.read_exact(&mut there).await.unwrap();
        client.read_exact(&mut here).await.unwrap();
        assert_eq!((&there, &here), (b"ping", b"pong"), "{used} {quiet}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_answered_before() {
    for path in ["/sleep/5", "/big"] {
        let mut talk = Talk::over(1 << 10);
        talk.send(get(path)).await;
        sleep(secs(1.0)).await;
        talk.hand_over();
        assert_eq!(talk.answer().await.0, 200);
        let (_, left) = talk.left().await;
        assert!(left.is_used);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_came_together_are_answered_together() {
    let mut talk = Talk::new();
    talk.send(get("/sleep/1") + &get("/sleep/1") + &post("/three", "body")).await;
    sleep(secs(0.5)).await;
    talk.hand_over();
    for expected in ["/sleep/1 ", "/sleep/1 ", "/three body"] {
        assert_eq!(talk.answer().await, (200, expected.to_owned()));
    }
    talk.left().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_or_body_that_has_begun_is_waited_for() {
    for (first, rest, expected) in [
        ("GET /half HTTP/1.1\r\n", "Host: h\r\n\r\n", "/half "),
        ("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo", "dy", "/b body"),
    ] {
        let mut talk = Talk::new();
        talk.send(first).await;
        sleep(secs(0.5)).await;
        talk.hand_over();
        sleep(secs(5.0)).await;
        assert!(!talk.serving.is_finished());
        talk.send(rest).await;
        assert_eq!(talk.answer().await, (200, expected.to_owned()));
        talk.left().await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_goes_on_where_it_was_left() {
    let mut talk = Talk::new();
    talk.ask("/one").await;
    talk.hand_over();
    let (client, left) = talk.left().await;
    let (word, phases) = (Arc::default(), Phases::default());
    let limits = Limits { park_after: Some(PARK_AFTER), ..Limits::default() };
    let (guard, handle) = HeadGuard::after_another(left.io, limits);
    let app = App { guard: handle.clone(), word: Arc::clone(&word) };
    let protocols = Arc::new(Protocols::new(100));
    let serving = tokio::spawn(Serving::new((guard, handle), app, protocols, &phases, true));
    let mut talk = Talk { client, word, phases, serving };
    // Longer than a client has that never spoke.
    sleep(secs(300.0)).await;
    talk.ask("/two").await;
    sleep(secs(600.0)).await;
    talk.ask("/three").await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_refused_or_ends_does_not_leave() {
    let mut talk = Talk::new();
    talk.send("GET /#bad HTTP/1.1\r\nHost: h\r\n\r\n").await;
    talk.hand_over();
    assert_eq!(talk.answer().await.0, 400);
    assert_eq!(talk.rest().await, "");
    let mut talk = Talk::new();
    talk.send("GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    talk.hand_over();
    assert_eq!(talk.answer().await.0, 200);
    assert_eq!(talk.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_leave_is_answered_once_more() {
    // Never used, between two requests, parked; and the next request comes at once or late.
    for (used, quiet, pause) in [
        (false, 0.5, 0.01),
        (false, 0.5, 5.0),
        (true, 0.0, 0.01),
        (true, 0.5, 300.0),
        (true, 60.0, 300.0),
    ] {
        let mut talk = Talk::that_stays(Phases::default());
        if used {
            talk.ask("/one").await;
        }
        sleep(secs(quiet)).await;
        talk.hand_over();
        sleep(secs(pause)).await;
        talk.send([get("/two"), get("/never")].concat()).await;
        let rest = talk.rest().await;
        assert!(
            rest.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\n"),
            "{used} {quiet} {rest}"
        );
        assert!(rest.ends_with("\r\n\r\n/two "), "{rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_leave_goes_on_behind_what_is_under_way() {
    for path in ["/sleep/5", "/big"] {
        let mut talk = Talk::among(Phases::default(), 1 << 10, false);
        talk.send(get(path)).await;
        sleep(secs(1.0)).await;
        talk.hand_over();
        assert_eq!(talk.answer().await.0, 200);
        sleep(secs(300.0)).await;
        talk.ask("/next").await;
        assert_eq!(talk.rest().await, "");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_leave_ends_when_its_time_is_up_or_it_is_told_to() {
    let mut talk = Talk::that_stays(Phases::default());
    talk.ask("/one").await;
    talk.hand_over();
    let since = Instant::now();
    assert_eq!(talk.rest().await, "");
    assert!((650..=652).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());

    for used in [false, true] {
        for tell in
            [|phases: &Phases| phases.leaving.cancel(), |phases: &Phases| phases.stop.cancel()]
        {
            let mut talk = Talk::that_stays(Phases::default());
            if used {
                talk.ask("/one").await;
            }
            talk.hand_over();
            sleep(secs(5.0)).await;
            assert!(!talk.serving.is_finished());
            tell(&talk.phases);
            let since = Instant::now();
            assert_eq!(talk.rest().await, "");
            assert!(since.elapsed() < secs(0.1), "{used}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_begins_late_may_ask_once() {
    for is_handed_over in [false, true] {
        let phases = Phases::default();
        if is_handed_over {
            phases.succession.begin();
        }
        phases.drain.cancel();
        let mut talk = Talk::that_stays(phases.clone());
        sleep(secs(1.0)).await;
        talk.send([get("/one"), get("/never")].concat()).await;
        let rest = talk.rest().await;
        assert!(rest.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\n"), "{rest}");
        assert!(rest.ends_with("\r\n\r\n/one "), "{rest}");
        // And not for long.
        let since = Instant::now();
        assert_eq!(Talk::that_stays(phases).rest().await, "");
        let limit = secs(if is_handed_over { 10.0 } else { 2.1 });
        assert!(since.elapsed() <= limit, "{:?}", since.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_just_come_when_the_gateway_drains_may_ask_once() {
    let mut talk = Talk::new();
    sleep(secs(0.4)).await;
    talk.phases.drain.cancel();
    sleep(secs(0.2)).await;
    talk.send([get("/one"), get("/never")].concat()).await;
    let rest = talk.rest().await;
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\n"), "{rest}");
    assert!(rest.ends_with("\r\n\r\n/one "), "{rest}");
}
