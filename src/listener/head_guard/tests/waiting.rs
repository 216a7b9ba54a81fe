//! What passes only later: time limits, undecided upgrades, and what is thrown away behind a refusal.

use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{advance, timeout};

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What can be read now; the clock stands still meanwhile.
async fn read_now<IO: AsyncRead + Unpin>(guard: &mut HeadGuard<IO>) -> Option<Vec<u8>> {
    let mut space = vec![0; 1 << 16];
    let mut buf = ReadBuf::new(&mut space);
    let ready = poll_fn(|cx| Poll::Ready(Pin::new(&mut *guard).poll_read(cx, &mut buf))).await;
    match ready {
        Poll::Pending => None,
        Poll::Ready(result) => {
            result.unwrap();
            Some(buf.filled().to_vec())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_ten_seconds_from_its_first_byte() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (mut guard, _handle) = HeadGuard::new(server, Limits::default());
    assert_eq!(read_now(&mut guard).await, None);
    advance(secs(9)).await;
    client.write_all(b"G").await.unwrap();
    assert_eq!(read_now(&mut guard).await, None);
    advance(secs(9)).await;
    client.write_all(b"ET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(read_now(&mut guard).await, None);
    advance(secs(1)).await;
    let refused = Refusal::HeadTimeout.request().into_bytes();
    assert_eq!(read_now(&mut guard).await, Some(refused));
    client.write_all(b"Host: h\r\n\r\n").await.unwrap();
    assert_eq!(read_now(&mut guard).await, None);
}

#[tokio::test(start_paused = true)]
async fn later_heads_have_the_same_time_and_bodies_have_all_they_want() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (mut guard, _handle) = HeadGuard::new(server, Limits::default());
    client.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n").await.unwrap();
    assert!(read_now(&mut guard).await.is_some());
    advance(secs(5000)).await;
    assert_eq!(read_now(&mut guard).await, None);
    client.write_all(b"xG").await.unwrap();
    assert_eq!(read_now(&mut guard).await, Some(b"x".to_vec()));
    assert_eq!(read_now(&mut guard).await, None);
    advance(secs(9)).await;
    assert_eq!(read_now(&mut guard).await, None);
    let mut space = [0; 100];
    let read = timeout(secs(2), guard.read(&mut space)).await.unwrap().unwrap();
    assert_eq!(&space[..read], Refusal::HeadTimeout.request().as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_ends_silently() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (mut guard, _handle) = HeadGuard::new(server, Limits::default());
    let mut space = [0; 100];
    for _ in 0..3 {
        client.write_all(GET).await.unwrap();
        assert_eq!(read_now(&mut guard).await.as_deref(), Some(GET));
        assert!(timeout(secs(649), guard.read(&mut space)).await.is_err());
    }
    assert_eq!(timeout(secs(3), guard.read(&mut space)).await.unwrap().unwrap(), 0);
    assert_eq!(read_now(&mut guard).await, Some(vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_short_limit_on_quiet_is_kept_to_a_quarter() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let limits = Limits { idle_timeout: Duration::from_millis(400), ..Limits::default() };
    let (mut guard, _handle) = HeadGuard::new(server, limits);
    let mut space = [0; 100];
    for _ in 0..10 {
        client.write_all(GET).await.unwrap();
        assert!(guard.read(&mut space).await.unwrap() > 0);
        assert!(timeout(Duration::from_millis(350), guard.read(&mut space)).await.is_err());
    }
    let left = Duration::from_millis(160);
    assert_eq!(timeout(left, guard.read(&mut space)).await.unwrap().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_request_in_progress_is_not_quiet() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (mut guard, handle) = HeadGuard::new(server, Limits::default());
    client.write_all(GET).await.unwrap();
    assert!(read_now(&mut guard).await.is_some());
    let in_flight = handle.request_started();
    let mut space = [0; 100];
    assert!(timeout(secs(3000), guard.read(&mut space)).await.is_err());
    drop(in_flight);
    assert!(timeout(secs(649), guard.read(&mut space)).await.is_err());
    assert_eq!(timeout(secs(3), guard.read(&mut space)).await.unwrap().unwrap(), 0);
}

/// What comes within so many seconds on a connection without a reader.
async fn arrival<IO: AsyncRead + Unpin>(guard: &mut HeadGuard<IO>, limit: u64) -> Option<Arrival> {
    let arrival = timeout(secs(limit), poll_fn(|cx| guard.poll_arrival(cx))).await;
    arrival.ok().map(|arrival| arrival.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_parked_connection_keeps_whatever_comes_for_its_next_reader() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let limits = Limits { park_after: Some(secs(1)), ..Limits::default() };
    let (mut guard, _handle) = HeadGuard::new(server, limits);
    let mut space = vec![0; 1 << 16];
    let two_and_more = [GET, GET, b"GET /more"].concat();
    for sent in [GET, &two_and_more] {
        assert_eq!(arrival(&mut guard, 9).await, None);
        client.write_all(sent).await.unwrap();
        assert_eq!(arrival(&mut guard, 1).await, Some(Arrival::Http1));
        assert!(!guard.is_parked());
        let whole = sent.len() / GET.len() * GET.len();
        assert_eq!(read_now(&mut guard).await.as_deref(), Some(&sent[..whole]));
        if whole < sent.len() {
            assert_eq!(read_now(&mut guard).await, None);
            client.write_all(b" HTTP/1.0\r\n\r\n").await.unwrap();
            assert!(read_now(&mut guard).await.unwrap().starts_with(b"GET /more HTTP/1.0"));
        }
        assert_eq!(timeout(secs(3), guard.read(&mut space)).await.unwrap().unwrap(), 0);
        assert!(guard.is_parked());
        // The end is the reader's alone.
        guard.shutdown().await.unwrap();
        let mut nothing = [0];
        assert!(timeout(secs(1), client.read(&mut nothing)).await.is_err());
    }
    assert_eq!(arrival(&mut guard, 640).await, None);
    assert_eq!(arrival(&mut guard, 10).await, Some(Arrival::End));
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_an_unfinished_write_is_not_parked() {
    let (mut client, server) = tokio::io::duplex(64);
    let limits = Limits { park_after: Some(secs(1)), ..Limits::default() };
    let (mut guard, _handle) = HeadGuard::new(server, limits);
    client.write_all(GET).await.unwrap();
    assert!(read_now(&mut guard).await.is_some());
    assert!(timeout(secs(1), guard.write_all(&[b'x'; 100])).await.is_err());
    let mut space = [0; 100];
    assert!(timeout(secs(60), guard.read(&mut space)).await.is_err());
    assert_eq!(client.read(&mut space).await.unwrap(), 64);
    guard.write_all(b"the rest").await.unwrap();
    assert_eq!(timeout(secs(3), guard.read(&mut space)).await.unwrap().unwrap(), 0);
    assert!(guard.is_parked());
}

#[tokio::test(start_paused = true)]
async fn bytes_after_an_upgrade_request_wait_for_the_verdict() {
    // Neither a head nor a tunnel's bytes are told apart before: the verdict alone decides.
    for (switched, following) in [(true, &b"\x81\x00\n"[..]), (true, GET), (false, GET)] {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (mut guard, handle) = HeadGuard::new(server, Limits::default());
        client.write_all(&[UPGRADE, following].concat()).await.unwrap();
        assert_eq!(read_now(&mut guard).await.as_deref(), Some(UPGRADE));
        assert_eq!(read_now(&mut guard).await, None);
        let reader = tokio::spawn(async move {
            let mut space = vec![0; 1000];
            let read = guard.read(&mut space).await.unwrap();
            space.truncate(read);
            (space, guard)
        });
        tokio::task::yield_now().await;
        if switched {
            handle.switched()
        } else {
            handle.not_switched()
        }
        let (read, mut guard) = timeout(secs(1), reader).await.unwrap().unwrap();
        assert_eq!(read, following);
        client.write_all(b"\0\n\0").await.unwrap();
        let after = read_now(&mut guard).await;
        if switched {
            assert_eq!(after, Some(b"\0\n\0".to_vec()));
        } else {
            assert_eq!(after, Some(Refusal::BareLf.request().into_bytes()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_upgrade_does_not_let_tunnel_bytes_through() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (mut guard, handle) = HeadGuard::new(server, Limits::default());
    client.write_all(&[UPGRADE, b"GET http://evil/ HTTP/1.1\r\n"].concat()).await.unwrap();
    assert_eq!(read_now(&mut guard).await.as_deref(), Some(UPGRADE));
    handle.not_switched();
    handle.switched();
    let refused = Refusal::TargetForm.request().into_bytes();
    assert_eq!(read_now(&mut guard).await, Some(refused));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_nobody_asked_for_changes_nothing() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (mut guard, handle) = HeadGuard::new(server, Limits::default());
    handle.switched();
    client.write_all(GET).await.unwrap();
    assert_eq!(read_now(&mut guard).await.as_deref(), Some(GET));
    handle.switched();
    client.write_all(&[UPGRADE, b"\n\n"].concat()).await.unwrap();
    assert_eq!(read_now(&mut guard).await.as_deref(), Some(UPGRADE));
    assert_eq!(read_now(&mut guard).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_request_may_have_a_body() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (mut guard, handle) = HeadGuard::new(server, Limits::default());
    let head = b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    client.write_all(&[head, &b"ab"[..]].concat()).await.unwrap();
    assert!(read_now(&mut guard).await.unwrap().ends_with(b"ab"));
    // Decided before the body is complete.
    handle.not_switched();
    client.write_all(&[b"cd", GET].concat()).await.unwrap();
    assert_eq!(read_now(&mut guard).await, Some([b"cd", GET].concat()));
}

#[tokio::test(start_paused = true)]
async fn an_undecided_upgrade_holds_little_and_reports_the_end() {
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let (mut guard, _handle) = HeadGuard::new(server, Limits::default());
    client.write_all(UPGRADE).await.unwrap();
    assert!(read_now(&mut guard).await.is_some());
    let mut taken = 0;
    while timeout(secs(1), client.write_all(&[0; 512])).await.is_ok() {
        taken += 512;
        assert_eq!(read_now(&mut guard).await, None);
    }
    assert!((16 * 1024..24 * 1024).contains(&taken), "{taken}");

    let (mut client, server) = tokio::io::duplex(1 << 10);
    let (mut guard, handle) = HeadGuard::new(server, Limits::default());
    client.write_all(&[UPGRADE, b"tunnel"].concat()).await.unwrap();
    drop(client);
    assert!(read_now(&mut guard).await.is_some());
    assert_eq!(read_now(&mut guard).await, Some(vec![]));
    handle.switched();
    assert_eq!(read_now(&mut guard).await, Some(b"tunnel".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn behind_a_refusal_a_bounded_amount_is_thrown_away() {
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let (mut guard, _handle) = HeadGuard::new(server, Limits::default());
    client.write_all(b"\r\n").await.unwrap();
    assert_eq!(read_now(&mut guard).await, Some(Refusal::EmptyLine.request().into_bytes()));
    let mut taken = 0;
    while timeout(secs(1), client.write_all(&[0; 512])).await.is_ok() {
        taken += 512;
        assert_eq!(read_now(&mut guard).await, None);
    }
    assert!((256 * 1024..260 * 1024).contains(&taken), "{taken}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_does_not_overtake_a_refusals_answer() {
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let (mut guard, _handle) = HeadGuard::new(server, Limits::default());
    client.write_all(b"\n").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_now(&mut guard).await, Some(Refusal::BareLf.request().into_bytes()));
    assert_eq!(read_now(&mut guard).await, None);
    timeout(Duration::from_millis(1), guard.shutdown()).await.unwrap().unwrap();
}
