//! What a reload changes, what it leaves, and what it says about the rest.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use coppice_gateway::config::SETTINGS;
use coppice_gateway::simulator::Options;
use tempfile::TempDir;

use crate::support::keys_file::KeysFile;
use crate::support::wait::eventually;
use crate::support::world::key;
use crate::support::{Ask, Wire, World};

/// A gateway with a settings file of its own.
struct Place {
    directory: TempDir,
    world: World,
}

impl Place {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        std::fs::write(&file, text).unwrap();
        let world = World::with(Options::default(), |setup| {
            setup.env("COPPICE_CONFIG", file.to_str().unwrap())
        });
        Self { directory, world }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    fn reload(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
        self.world.gateway.reload();
    }

    fn create(&self) -> u16 {
        self.world.ask("exec", Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#)).status
    }
}

#[test]
fn limits_come_change_and_go() {
    let place = Place::new("");
    assert_eq!((place.create(), place.create()), (201, 201));
    place.reload("[tenants]\nsandbox_limits = [\"team-a=2\"]\n");
    assert_eq!(place.create(), 403);
    place.reload("[tenants]\nsandbox_limits = [\"team-a=3\"]\n[quota]\nstatus = 429\n");
    assert_eq!((place.create(), place.create()), (201, 429));
    place.reload("");
    assert_eq!(place.create(), 201);
}

#[test]
fn the_keys_file_that_is_named_now_is_the_one_that_is_watched() {
    let place = Place::new("");
    let [one, other] =
        [(), ()].map(|()| KeysFile::new("team-c:k-stays:read\nteam-c:k-goes:read\n"));
    let names = |file: &KeysFile| format!("[auth]\napi_keys_file = {:?}\n", file.path());
    let status = |key: &str| Ask::get("/auth/whoami").key(key).send(place.world.control()).status;
    let gone_in_time = |file: &KeysFile| {
        assert_eq!((status("k-stays"), status("k-goes")), (200, 200));
        file.write("team-c:k-stays:read\n");
        let since = Instant::now();
        eventually("the key is gone", Duration::from_secs(10), || status("k-goes") == 401);
        assert!(since.elapsed() < Duration::from_millis(2_500), "{:?}", since.elapsed());
        assert_eq!(status("k-stays"), 200);
    };
    // At first there was none.
    place.reload(&names(&one));
    gone_in_time(&one);
    place.reload(&names(&other));
    gone_in_time(&other);
    // Of keys alone, too: a change of the one file leads to another.
    let third = KeysFile::new("team-c:k-stays:read\nteam-c:k-goes:read\n");
    std::fs::write(place.file(), names(&third)).unwrap();
    other.write("team-c:k-other:read\n");
    eventually("the third is read", Duration::from_secs(10), || status("k-goes") == 200);
    gone_in_time(&third);
}

#[test]
fn origins_and_proxies_change() {
    let place = Place::new("");
    let allowed = || {
        let ask = Ask::get("/auth/whoami").key(&key("read")).header("Origin", "https://a.test");
        ask.send(place.world.control()).header("access-control-allow-origin").is_some()
    };
    let forwarded = || {
        let ask = Ask::get("/templates").header("X-Forwarded-For", "192.0.2.7");
        place.world.ask("read", ask);
        let requests = place.world.simulator.requests();
        let value = |name: &str| {
            let headers = &requests.last().unwrap().headers;
            headers.iter().find(|(own, _)| own.as_str() == name).map(|(_, value)| value.clone())
        };
        format!("{:?}", value("x-forwarded-for"))
    };
    assert!(!allowed());
    assert!(!forwarded().contains("192.0.2.7"));
    place.reload(
        "[server]\ncors_origins = [\"https://a.test\"]\ntrusted_proxies = [\"127.0.0.0/8\"]\n",
    );
    assert!(allowed());
    assert!(forwarded().contains("192.0.2.7"));
    place.reload("");
    assert!(!allowed());
    assert!(!forwarded().contains("192.0.2.7"));
}

#[test]
fn how_long_the_end_takes_can_be_said_at_the_last_moment() {
    let place = Place::new("");
    let (sandbox, _) = place.world.create("exec");
    let ask = Ask::get("/stream?chunks=100000&ms=50").key(&key("exec"));
    let ask = ask.header("E2b-Sandbox-Id", &sandbox).header("E2b-Sandbox-Port", "8080");
    let mut endless = Wire::open(place.world.data());
    assert_eq!(endless.start(&ask).status, 200);
    place.reload("[server]\ndrain_timeout = \"200ms\"\n");
    place.world.gateway.signal("TERM");
    endless.until_closed(Duration::from_secs(10));
    place.world.gateway.wait_for_log(&["draining", "\"limit_s\":0"]);
}

#[test]
fn idle_connections_go_by_the_time_that_was_set_when_they_came() {
    let place = Place::new("");
    let mut before = Wire::open(place.world.control());
    let ask = Ask::get("/auth/whoami").key(&key("read"));
    assert_eq!(before.ask(&ask).status, 200);
    place.reload("[server]\nidle_timeout = \"400ms\"\n");
    let mut after = Wire::open(place.world.control());
    assert_eq!(after.ask(&ask).status, 200);
    after.until_closed(Duration::from_secs(10));
    assert_eq!(before.ask(&ask).status, 200);
}

#[test]
fn what_waits_for_a_restart_is_named_and_what_is_wrong_changes_nothing() {
    let place = Place::new("[server]\nmax_streams = 100\n");
    place.reload(
        "[server]\nmax_streams = 50\n[upstream]\nidle_timeout = \"30s\"\n[tenants]\nsandbox_limits = [\"team-a=0\"]\n",
    );
    place.world.gateway.wait_for_log(&[
        "\"WARN\"",
        "take effect with a restart",
        "\"server.max_streams, upstream.idle_timeout\"",
    ]);
    assert_eq!(place.create(), 403);
    // One thing is wrong, so that nothing else is changed either.
    std::fs::write(place.file(), "[server]\nidle_timeout = \"\"\n").unwrap();
    place.world.gateway.signal("HUP");
    place.world.gateway.wait_for_log(&["\"ERROR\"", "\"not reloaded;"]);
    assert_eq!(place.create(), 403);
    // What can be read, but must not be, is as wrong: keys would open what a callback is to guard.
    let text = "[auth.callback]\nurl = \"http://127.0.0.1:9/\"\n";
    std::fs::write(place.file(), text).unwrap();
    place.world.gateway.signal("HUP");
    place.world.gateway.wait_for_log(&["not reloaded; an auth callback comes or goes"]);
    assert_eq!(place.create(), 403);
    place.reload("");
    eventually("all is as it was", Duration::from_secs(5), || place.create() == 201);
}

#[test]
fn the_page_for_operators_names_all_that_reloads() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operate/lifecycle.md");
    let page = std::fs::read_to_string(page).unwrap();
    let part = page.split("\n## ").find(|part| part.starts_with("Reload")).unwrap();
    for setting in SETTINGS {
        let is_named = part.contains(&format!("`{}`", setting.key));
        assert_eq!(is_named, setting.reload, "{}", setting.key);
    }
}
