//! How connections end, parked or not: when their time is up, when their client goes, when the gateway does.

use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_never_speaks_has_as_long_as_for_a_head() {
    let (since, talk) = (Instant::now(), Talk::new());
    assert_eq!(talk.rest().await, "");
    assert_eq!(since.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_parked_connection_ends_when_its_time_is_up() {
    let mut talk = Talk::new();
    talk.ask("/one").await;
    sleep(secs(300.0)).await;
    talk.ask("/two").await;
    let since = Instant::now();
    assert_eq!(talk.rest().await, "");
    assert!((650..=651).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_may_go_while_it_is_parked() {
    for last in ["", "GET /half"] {
        let mut talk = Talk::new();
        talk.ask("/one").await;
        sleep(secs(3.0)).await;
        talk.send(last).await;
        talk.client.shutdown().await.unwrap();
        let since = Instant::now();
        assert_eq!(talk.rest().await, "");
        assert!(since.elapsed() < secs(0.1));
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_to_close_is_not_parked() {
    let mut talk = Talk::new();
    talk.ask("/one").await;
    sleep(secs(3.0)).await;
    talk.send("GET /two HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert_eq!(talk.answer().await, (200, "/two ".to_owned()));
    let since = Instant::now();
    assert_eq!(talk.rest().await, "");
    assert!(since.elapsed() < secs(0.1));
}

#[tokio::test(start_paused = true)]
async fn draining_ends_what_waits_at_once_and_says_nothing() {
    // Never used, between requests, about to be parked, parked; and with half a head.
    for (used, quiet, half) in [
        (false, 1.0, ""),
        (true, 0.5, ""),
        (true, 1.999, ""),
        (true, 2.0, ""),
        (true, 2.001, ""),
        (true, 60.0, ""),
        (true, 60.0, "GET /half HTTP/1.1\r\n"),
    ] {
        let mut talk = Talk::new();
        if used {
            talk.ask("/one").await;
        }
        sleep(secs(quiet)).await;
        talk.send(half).await;
        sleep(secs(0.01)).await;
        talk.phases.drain.cancel();
        let since = Instant::now();
        assert_eq!(talk.rest().await, "", "after {quiet} s");
        assert!(since.elapsed() < secs(0.1), "after {quiet} s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_drain_is_answered() {
    for quiet in [0.5, 2.0, 60.0] {
        let mut talk = Talk::new();
        talk.ask("/one").await;
        sleep(secs(quiet)).await;
        // Neither has been seen when the connection next runs.
        talk.send([get("/sleep/5"), get("/never")].concat()).await;
        talk.phases.drain.cancel();
        let rest = talk.rest().await;
        assert!(rest.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\n"), "{rest}");
        assert!(rest.ends_with("\r\n\r\n/sleep/5 "), "{rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_with_the_drain_says_that_it_is_the_last() {
    let mut talk = Talk::new();
    talk.send(get("/word")).await;
    sleep(secs(1.0)).await;
    // The connection next runs when both have happened.
    talk.word.notify_one();
    talk.phases.drain.cancel();
    let rest = talk.rest().await;
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\n"), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn draining_lets_http_2_finish() {
    let talk = Talk::new();
    let (mut sender, connection) = h2::client::handshake(talk.client).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://h/sleep/20").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    sleep(secs(1.0)).await;
    talk.phases.drain.cancel();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "/sleep/20 ");
    drop((sender, body));
    connection.await.unwrap().unwrap();
    timeout(secs(1.0), talk.serving).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_what_runs() {
    let mut talk = Talk::new();
    talk.send(get("/sleep/1000")).await;
    sleep(secs(1.0)).await;
    talk.phases.drain.cancel();
    sleep(secs(30.0)).await;
    assert!(talk.is_attended().await);
    talk.phases.stop.cancel();
    let since = Instant::now();
    assert_eq!(talk.rest().await, "");
    assert!(since.elapsed() < secs(0.1));
}

/// Sends a request in HTTP/2 and reads its answer.
async fn ask(sender: &mut h2::client::SendRequest<Bytes>, path: &str) -> Result<(), h2::Error> {
    let request = Request::get(format!("http://h{path}")).body(()).unwrap();
    let (response, _) = sender.send_request(request, true)?;
    let mut body = response.await?.into_body();
    assert_eq!(body.data().await.unwrap()?, format!("{path} "));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_nothing_in_http_2_is_told_to_come_again() {
    // Asked as often, and then waited so long.
    for (asks, least, most) in [(0, 9.9, 11.0), (1, 649.9, 815.0), (3, 649.9, 815.0)] {
        let talk = Talk::new();
        let (mut sender, connection) = h2::client::handshake(talk.client).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..asks {
            ask(&mut sender, "/sleep/400").await.unwrap();
            sleep(secs(500.0)).await;
        }
        let since = Instant::now();
        timeout(LONG, connection).await.unwrap().unwrap().unwrap();
        let waited = since.elapsed() + secs(if asks > 0 { 500.0 } else { 0.0 });
        assert!((secs(least)..secs(most)).contains(&waited), "{asks}: {waited:?}");
        timeout(secs(0.1), talk.serving).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_long_in_http_2_is_not_cut_off() {
    let talk = Talk::new();
    let (mut sender, connection) = h2::client::handshake(talk.client).await.unwrap();
    tokio::spawn(connection);
    ask(&mut sender, "/sleep/5000").await.unwrap();
    ask(&mut sender, "/next").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_does_not_listen_in_http_2_is_not_waited_for() {
    let mut talk = Talk::new();
    talk.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    talk.send(b"\0\0\0\x04\0\0\0\0\0").await;
    let since = Instant::now();
    timeout(LONG, talk.serving).await.unwrap().unwrap();
    assert_eq!(since.elapsed().as_secs(), 15);
}
