//! The head of an answer decides. Its body costs nothing, however long it is.

use std::fs;
use std::time::{Duration, Instant};

use super::{status, world_with};
use crate::support::World;
use crate::support::callback::{Reply, Scripted};

const MANY: usize = 12;

/// The memory that a gateway holds, in KiB.
fn resident(world: &World) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", world.gateway.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_body_delays_nobody_and_is_not_kept() {
    for reply in [Reply::EndlessBody, Reply::Body(50_000_000), Reply::Body(60_000), Reply::Body(1)]
    {
        let service = Scripted::always(Reply::allow());
        let world = world_with(&service, |setup| setup.env("AUTH_CALLBACK_MAX_CALLS", "2"));
        for number in 0..MANY {
            assert_eq!(status(&world, &format!("first-{number}")), 200);
        }
        service.now(reply.clone());
        let before = resident(&world);
        for number in 0..MANY {
            let since = Instant::now();
            assert_eq!(status(&world, &format!("key-{number}")), 200, "{reply:?}");
            assert!(since.elapsed() < Duration::from_secs(2), "{reply:?}: {:?}", since.elapsed());
        }
        let grown = resident(&world).saturating_sub(before);
        assert!(grown < 20_000, "{reply:?}: {grown} KiB more");
        assert_eq!(service.count(), 2 * MANY);
    }
}

#[test]
fn an_unread_body_never_answers_the_next_call() {
    let inner = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let length = inner.len();
    let smuggled = format!("HTTP/1.1 401 No\r\nContent-Length: {length}\r\n\r\n{inner}");
    let excess = format!("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n{inner}");
    for bytes in [smuggled, excess] {
        let service = Scripted::always(Reply::Bytes(bytes.into_bytes()));
        let world = world_with(&service, super::one_worker);
        for number in 0..10 {
            assert_eq!(status(&world, &format!("key-{number}")), 401);
        }
    }
}
