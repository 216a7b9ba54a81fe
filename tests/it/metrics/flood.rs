//! A hundred thousand requests, no two alike, through the running gateway: a scrape is as long as before.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use coppice_gateway::simulator::Options;

use crate::support::callback::{Call, Reply, Scripted};
use crate::support::telemetry::{Scrape, Series};
use crate::support::wait::PATIENCE;
use crate::support::world::key;
use crate::support::{Ask, Gateway, World};

const REQUESTS: usize = 100_000;
/// As many connections as send at once, half of them to each plane.
const CONNECTIONS: usize = 4;
/// Requests on their way on a connection.
const AHEAD: usize = 100;
/// More tenants than a scrape names.
const TENANTS: usize = 220;

/// Each credential is a tenant of its own.
fn world(service: &Scripted) -> World {
    let options = Options { record: false, ..Options::default() };
    World::with(options, |setup| {
        setup
            .flag("--ops-listen=127.0.0.1:0")
            .env("COPPICE_TENANT_SANDBOX_LIMITS", "*=3")
            .env("AUTH_CALLBACK_URL", service.url())
            .env("AUTH_CALLBACK_CLIENT_BUDGET", "1000000")
    })
}

fn create(world: &World, tenant: usize) -> u16 {
    let ask = Ask::post("/v2/sandboxes", r#"{"templateID":"base","timeout":300}"#);
    ask.key(&format!("tenant-{tenant}")).send(world.control()).status
}

/// Every series, as Prometheus' own library reads them.
fn series(gateway: &Gateway) -> BTreeSet<Series> {
    let (_, samples) = Scrape::of(gateway, "application/openmetrics-text").read();
    samples.into_keys().collect()
}

/// A request that nobody sent before. Few of them cost more than a decision.
fn ask(number: usize, is_data: bool) -> Ask {
    let random = format!("r{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let ask = match number % 200 {
        0 => Ask::get("/templates").key(&format!("tenant-{random}")),
        1 => Ask::get(&format!("/sandboxes/{random}")).key(&key("exec")),
        2 => Ask::get(&format!("/templates/{random}?{random}")).key(&key("read")),
        kind => match kind % 5 {
            0 => Ask::get(&format!("/{random}")).key(&key("read")),
            1 => Ask::new(&format!("M-{random}"), "/templates").key(&key("read")),
            2 => Ask::get(&format!("/sandboxes/{random}?{random}")),
            3 => Ask::get("/files").header("X-Access-Token", format!("cpt1.{random}.{random}")),
            _ => Ask::new("DELETE", &format!("/templates/{random}")).key(&key("read")),
        },
    };
    let ask = ask.header("X-Request-Id", &random).header("User-Agent", &random);
    if is_data {
        ask.header("E2b-Sandbox-Id", &random)
            .header("E2b-Sandbox-Port", (number % 65_535 + 1).to_string())
    } else {
        ask
    }
}

/// Sends requests without waiting for each one's answer, and counts the answers.
fn pipeline(address: SocketAddr, asks: impl Iterator<Item = Ask>) -> usize {
    const MARK: &str = "\r\nx-request-id: ";
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut buffer, mut rest) = (vec![0; 64 * 1024], Vec::new());
    let (mut answered, mut asks) = (0, asks.peekable());
    while asks.peek().is_some() {
        let batch: Vec<_> = asks.by_ref().take(AHEAD).collect();
        let bytes: Vec<u8> = batch.iter().flat_map(|ask| ask.kept_bytes(address)).collect();
        stream.write_all(&bytes).unwrap();
        let mut left = batch.len();
        while left > 0 {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "closed with {left} answers to come");
            rest.extend_from_slice(&buffer[..count]);
            let found = String::from_utf8_lossy(&rest).matches(MARK).count();
            left = left.checked_sub(found).expect("one answer each");
            answered += found;
            // Too short to hold the mark, and long enough for all of it but a byte.
            rest.drain(..rest.len().saturating_sub(MARK.len() - 1));
        }
    }
    answered
}

#[test]
fn a_hundred_thousand_requests_of_as_many_kinds_add_no_series() {
    let service = Scripted::start(|call: &Call| {
        Reply::allow().with("X-Auth-Tenant", call.credential()).with("X-Auth-Scopes", "exec")
    });
    let world = world(&service);
    // All places for tenants' names are taken.
    for tenant in 0..TENANTS {
        assert_eq!(create(&world, tenant), 201);
    }
    let (control, data) = (world.control(), world.data());
    let flood = |from: usize, many: usize| -> usize {
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..CONNECTIONS)
                .map(|own| {
                    let is_data = own % 2 == 1;
                    let address = if is_data { data } else { control };
                    let numbers = (from..from + many).filter(move |n| n / 200 % CONNECTIONS == own);
                    scope.spawn(move || pipeline(address, numbers.map(|n| ask(n, is_data))))
                })
                .collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).sum()
        })
    };
    // Of every kind there was one.
    flood(0, 200 * CONNECTIONS);
    let before = series(&world.gateway);
    let counted = |scrape: &Scrape| scrape.sum("requests_total", &[]);
    let earlier = counted(&Scrape::of(&world.gateway, ""));
    assert_eq!(flood(1_000_000, REQUESTS), REQUESTS);
    for tenant in TENANTS..TENANTS + 20 {
        assert_eq!(create(&world, tenant), 201);
    }
    let after = Scrape::of(&world.gateway, "");
    assert!(counted(&after) >= earlier + REQUESTS as f64, "{} {earlier}", counted(&after));
    let new: Vec<_> = series(&world.gateway).symmetric_difference(&before).cloned().collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(before.len() < 1_500 && service.count() > 2 * REQUESTS / 400, "{}", before.len());
    assert!(after.sum("quota_active", &[("tenant", "other")]) >= 40.0);
}
