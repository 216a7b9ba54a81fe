//! A disk that keeps up, under as many requests as there can be: no event is lost.

use std::thread;

use coppice_gateway::simulator::Options;

use super::{Kept, assert_numbered, change, events_of_series, metric, settled, stranger};
use crate::support::World;
use crate::support::load::Load;

const CONNECTIONS: u64 = 4;
/// On each of them.
const EVENTS: u64 = 10_000;

#[test]
fn at_full_rate_no_event_is_lost() {
    let kept = Kept::new();
    let world = World::with(Options { record: false, ..Options::default() }, |setup| {
        let setup = setup.flag(kept.flag()).flag("--audit-rotate-size=4M");
        setup.flag("--ops-listen=127.0.0.1:0")
    });
    let (sandbox, _) = world.create("exec");
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (address, sandbox) = (world.control(), &sandbox);
            scope.spawn(move || {
                let asks = (0..EVENTS).map(|number| {
                    let id = format!("{connection}-{number}");
                    if number.is_multiple_of(4) { change(sandbox, &id) } else { stranger(&id) }
                });
                let mut expected =
                    (0..EVENTS).map(|number| if number % 4 == 0 { 204 } else { 401 });
                let is_alive = Load::open(address)
                    .send(asks, |status| assert_eq!(Some(status), expected.next()));
                assert!(is_alive);
            });
        }
    });
    settled(&world.gateway);
    let (all, allowed) = (CONNECTIONS * EVENTS + 1, CONNECTIONS * EVENTS / 4 + 1);
    assert_eq!(metric(&world.gateway, "audit_dropped_total"), 0);
    assert_eq!(metric(&world.gateway, "audit_events_total"), all);
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
    kept.intact();
    assert!(kept.files().len() > 3, "{:?}", kept.files());
    let lines = kept.lines();
    assert_eq!(lines.len() as u64, all);
    assert_numbered(&lines);
    assert_eq!(lines.iter().filter(|line| line["outcome"] == "allowed").count() as u64, allowed);
    let events = events_of_series(&lines);
    for connection in 0..CONNECTIONS {
        assert_eq!(events[&connection.to_string()], EVENTS);
    }
}
