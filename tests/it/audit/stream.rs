//! `/audit/stream`: events as they happen, from where one was, and until the key or the gateway ends.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::{done, event};
use crate::support::keys_file::KeysFile;
use crate::support::wait::PATIENCE;
use crate::support::world::key;
use crate::support::{Ask, Wire, World};

/// One thing that a stream said: its id, its kind, its data.
type Said = (Option<String>, Option<String>, Value);

/// An open stream.
struct Listening(Wire);

impl Listening {
    fn open(gateway: SocketAddr, ask: &Ask) -> Self {
        let mut wire = Wire::open(gateway);
        let head = wire.start(ask);
        assert_eq!(head.status, 200, "{}", head.text());
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("cache-control"), Some("no-cache"));
        Self(wire)
    }

    /// With the key of `role`, from now on or from after `last`.
    fn on(world: &World, role: &str, query: &str, last: Option<&str>) -> Self {
        let ask = Ask::get(&format!("/audit/stream{query}")).key(&key(role));
        let ask = last.into_iter().fold(ask, |ask, last| ask.header("Last-Event-ID", last));
        Self::open(world.control(), &ask)
    }

    /// The next thing said; each comes in a chunk of its own.
    fn next(&mut self) -> Said {
        let text = String::from_utf8(self.0.chunk().expect("the stream goes on")).unwrap();
        let field = |name: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(name));
            lines.map(|rest| rest.trim_start().to_owned()).next()
        };
        assert!(text.ends_with("\n\n"), "{text:?}");
        let data = serde_json::from_str(&field("data:").unwrap()).unwrap();
        (field("id:"), field("event:"), data)
    }

    /// The request id of the next event.
    fn request(&mut self) -> String {
        let (id, kind, data) = self.next();
        assert_eq!((id.as_deref(), kind), (data["eventID"].as_str(), None));
        data["requestID"].as_str().unwrap().to_owned()
    }
}

/// Something that is recorded.
fn change(world: &World, role: &str, id: &str) {
    done(world, role, id, Ask::new("DELETE", "/sandboxes/unknown"));
}

#[test]
fn events_come_as_they_happen_to_whom_they_concern() {
    let world = World::new();
    change(&world, "exec", "before");
    let mut admin = Listening::on(&world, "admin", "", None);
    let mut owner = Listening::on(&world, "owner", "", None);
    let mut other = Listening::on(&world, "admin", "?tenantID=team-b&outcome=denied", None);
    let mut failed = Listening::on(&world, "owner", "?tenantID=team-b", None);
    change(&world, "exec", "a-1");
    change(&world, "other", "b-1");
    change(&world, "exec", "a-2");
    assert_eq!([admin.request(), admin.request(), admin.request()], ["a-1", "b-1", "a-2"]);
    assert_eq!([owner.request(), owner.request()], ["a-1", "a-2"]);
    assert_eq!(other.request(), "b-1");
    assert!(failed.0.is_silent_for(Duration::from_millis(100)));
    // What a stream says is what a page shows.
    change(&world, "exec", "a-3");
    assert_eq!(admin.next().2, event(world.control(), "a-3"));
}

#[test]
fn a_stream_goes_on_where_it_was() {
    let world = World::new();
    change(&world, "exec", "a-1");
    change(&world, "other", "b-1");
    change(&world, "exec", "a-2");
    let id =
        |request: &str| event(world.control(), request)["eventID"].as_str().unwrap().to_owned();
    let mut admin = Listening::on(&world, "admin", "", Some(&id("a-1")));
    assert_eq!([admin.request(), admin.request()], ["b-1", "a-2"]);
    let mut owner = Listening::on(&world, "owner", "", Some(&id("a-1")));
    assert_eq!(owner.request(), "a-2");
    // An id that is unknown, or of an event that is somebody else's: all there is, and a word of warning.
    for last in [id("b-1"), "0".repeat(32), "nonsense".to_owned()] {
        let mut owner = Listening::on(&world, "owner", "", Some(&last));
        let gap = (None, Some("gap".to_owned()), json!({"reason": "forgotten"}));
        assert_eq!(owner.next(), gap, "{last}");
        assert_eq!([owner.request(), owner.request()], ["a-1", "a-2"], "{last}");
    }
    let twice = Ask::get("/audit/stream").header("Last-Event-ID", "a").header("Last-Event-ID", "b");
    assert_eq!(world.ask("admin", twice).code(), "bad_last_event_id");
}

#[test]
fn a_stream_ends_with_its_key() {
    let file = KeysFile::new("team-a:k-removed:owner");
    let world = file.world();
    let ask = Ask::get("/audit/stream").key("k-removed");
    let mut removed = Listening::open(world.control(), &ask);
    let mut kept = Listening::on(&world, "owner", "", None);
    change(&world, "exec", "a-1");
    assert_eq!(removed.request(), "a-1");
    file.reload(&world.gateway, "team-a:k-later:owner");
    assert_eq!(removed.0.chunk(), None);
    change(&world, "exec", "a-2");
    assert_eq!([kept.request(), kept.request()], ["a-1", "a-2"]);
    assert_eq!(ask.send(world.control()).status, 401);
}

#[test]
fn a_stream_does_not_hold_up_the_end() {
    let world = World::new();
    let mut open = Listening::on(&world, "admin", "", None);
    world.gateway.signal("TERM");
    open.0.until_closed(PATIENCE);
    world.gateway.wait_for_log(&["\"drained\""]);
    assert_eq!(world.gateway.wait().code(), Some(0));
}

#[test]
fn there_is_a_limit_to_streams() {
    let world = World::new();
    let mut open: Vec<_> = (0..100).map(|_| Listening::on(&world, "admin", "", None)).collect();
    let refused = world.ask("admin", Ask::get("/audit/stream"));
    assert_eq!((refused.status, refused.code()), (503, "not_ready".to_owned()));
    assert!(refused.header("retry-after").is_some());
    drop(open.pop());
    crate::support::wait::eventually("the place is free again", PATIENCE, || {
        let mut wire = Wire::open(world.control());
        wire.start(&Ask::get("/audit/stream").key(&key("admin"))).status == 200
    });
}
