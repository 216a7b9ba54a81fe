//! When a connection is parked, when it is not, and what that leaves.

use super::*;

#[tokio::test(start_paused = true)]
async fn nobody_attends_a_connection_before_its_first_request() {
    let mut talk = Talk::new();
    assert!(!talk.is_attended().await);
    talk.send("GET /one HTTP/1.1\r\n").await;
    assert!(!talk.is_attended().await);
    talk.send("Host: h\r\n\r\n").await;
    assert!(talk.is_attended().await);
    assert_eq!(talk.answer().await, (200, "/one ".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_parked_and_goes_on_when_a_request_comes() {
    let mut talk = Talk::new();
    for round in 0..5 {
        talk.ask(&format!("/{round}")).await;
        sleep(secs(0.9)).await;
        assert!(talk.is_attended().await, "a moment is no quiet");
        talk.send(post("/again", "body")).await;
        assert_eq!(talk.answer().await, (200, "/again body".to_owned()));
        sleep(secs(2.1)).await;
        assert!(!talk.is_attended().await);
        sleep(secs(100.0 * f64::from(round))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_is_not_parked() {
    let mut talk = Talk::new();
    for _ in 0..20 {
        talk.ask("/").await;
        sleep(secs(0.7)).await;
        assert!(talk.is_attended().await);
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_long_is_no_quiet() {
    let mut talk = Talk::new();
    talk.ask("/first").await;
    talk.send(get("/sleep/500")).await;
    sleep(secs(400.0)).await;
    assert!(talk.is_attended().await);
    assert_eq!(talk.answer().await, (200, "/sleep/500 ".to_owned()));
    // A body that comes slowly.
    let whole = post("/slow", "0123456789");
    talk.send(&whole[..whole.len() - 10]).await;
    for piece in whole.as_bytes()[whole.len() - 10..].chunks(1) {
        sleep(secs(5.0)).await;
        talk.send(piece).await;
        assert!(talk.is_attended().await);
    }
    assert_eq!(talk.answer().await, (200, "/slow 0123456789".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_its_client_takes_slowly_is_not_cut_off() {
    let mut talk = Talk::over(4096);
    talk.ask("/first").await;
    talk.send(get("/big")).await;
    // Long done, as far as the application knows.
    sleep(secs(60.0)).await;
    assert!(talk.is_attended().await);
    let (status, body) = talk.answer().await;
    assert_eq!((status, body.len()), (200, 100_000));
    talk.ask("/next").await;
    sleep(secs(3.0)).await;
    assert!(!talk.is_attended().await);
}

#[tokio::test(start_paused = true)]
async fn a_parked_connection_can_still_become_a_tunnel() {
    let mut talk = Talk::new();
    talk.ask("/").await;
    sleep(secs(30.0)).await;
    assert!(!talk.is_attended().await);
    talk.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\nearly")
        .await;
    assert_eq!(talk.answer().await.0, 101);
    for said in ["early", "GET", "\0\n"] {
        if said != "early" {
            talk.send(said).await;
        }
        let mut heard = vec![0; said.len()];
        timeout(LONG, talk.client.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, said.as_bytes());
        // Quiet in a tunnel means nothing.
        sleep(secs(2_000.0)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn http_2_is_known_by_its_preface_however_it_arrives() {
    for piece in [1, 7, 24, 1 << 16] {
        let mut talk = Talk::new();
        let (client, mut between) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let mut first = vec![0; 24];
            between.read_exact(&mut first).await.unwrap();
            for piece in first.chunks(piece) {
                sleep(secs(0.1)).await;
                talk.client.write_all(piece).await.unwrap();
            }
            tokio::io::copy_bidirectional(&mut talk.client, &mut between).await
        });
        let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
        tokio::spawn(connection);
        for path in ["/one", "/two"] {
            let request = Request::get(format!("http://h{path}")).body(()).unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            let mut body = response.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), format!("{path} "));
            sleep(secs(5.0)).await;
        }
    }
}

#[test]
fn who_waits_is_small() {
    // All but what is boxed, which a waiting connection has none of.
    let size = size_of::<Serving<tokio::net::TcpStream, PerConnection>>();
    assert!(size <= 768, "{size} bytes");
}
