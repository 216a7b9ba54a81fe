//! Keys that come, change and go while the gateway runs, and the secret behind sandbox tokens.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use coppice_gateway::clock::UnixTime;
use coppice_gateway::simulator::Options;

use crate::support::gateway::Setup;
use crate::support::keys_file::KeysFile;
use crate::support::wait::eventually;
use crate::support::world::key;
use crate::support::{Ask, Gateway, Wire, World};

fn status(gateway: &Gateway, key: &str) -> u16 {
    Ask::get("/auth/whoami").key(key).send(gateway.control()).status
}

/// Waits until a key is answered with `wanted`; how long that took.
fn becomes(gateway: &Gateway, key: &str, wanted: u16) -> Duration {
    let since = Instant::now();
    let what = format!("{key} is answered with {wanted}");
    eventually(&what, Duration::from_secs(10), || status(gateway, key) == wanted);
    since.elapsed()
}

#[test]
fn a_changed_file_takes_effect_on_its_own() {
    let file = KeysFile::new("team-c:k-old:read\n");
    let world = file.world();
    assert_eq!(status(&world.gateway, "k-old"), 200);
    file.write("# rotated\nteam-c:k-new:read\n");
    let took = becomes(&world.gateway, "k-new", 200);
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    assert_eq!(status(&world.gateway, "k-old"), 401);
    // Written in place, of the same length, and a file that went away and came back.
    std::fs::write(file.path(), "# rotated\nteam-c:k-two:read\n").unwrap();
    becomes(&world.gateway, "k-two", 200);
    std::fs::remove_file(file.path()).unwrap();
    world.gateway.wait_for_log(&["\"ERROR\"", "keys were not reloaded"]);
    assert_eq!(status(&world.gateway, "k-two"), 200);
    file.write("team-c:k-three:read\n");
    becomes(&world.gateway, "k-three", 200);
    assert_eq!(status(&world.gateway, &key("read")), 200, "the other source's keys stay");
}

#[test]
fn a_signal_has_it_read_at_once() {
    let file = KeysFile::new("team-c:k-old:read");
    let world = file.world();
    file.reload(&world.gateway, "team-c:k-new:read");
    assert_eq!(status(&world.gateway, "k-old"), 401);
    assert_eq!(status(&world.gateway, "k-new"), 200);
}

#[test]
fn a_bad_file_changes_nothing_and_is_complained_about() {
    let file = KeysFile::new("team-c:k-good:read");
    let world = file.world();
    let bad = [
        "",
        "team-c:k-canary",
        "team-c:k-canary:write",
        "team-c:k-good:read\nteam-d:k-good:read",
        r#"[{"tenantID":"team-c","key":"k-canary","scopes":["read"],"scope":"x"}]"#,
        r#"[{"tenantID":"team-c","key":"k-canary""#,
    ];
    for (index, text) in bad.iter().enumerate() {
        file.write(text);
        world.gateway.signal("HUP");
        world.gateway.wait_for_logs(index + 1, &["\"ERROR\"", "\"not reloaded;"]);
        assert_eq!(status(&world.gateway, "k-good"), 200, "{text}");
        assert_eq!(status(&world.gateway, "k-canary"), 401, "{text}");
        assert_eq!(status(&world.gateway, &key("read")), 200, "{text}");
    }
    file.reload(&world.gateway, "team-c:k-better:read");
    assert_eq!((status(&world.gateway, "k-good"), status(&world.gateway, "k-better")), (401, 200));
    let log = world.gateway.log().join("\n");
    for secret in ["k-canary", "k-good", "k-better", &key("read")] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn connections_stay_open_through_a_reload() {
    let file = KeysFile::new("team-c:k-old:read");
    let world = file.world();
    let mut wires = [Wire::open(world.control()), Wire::open(world.control())];
    let ask = |key: &str| Ask::get("/auth/whoami").key(key);
    for wire in &mut wires {
        assert_eq!(wire.ask(&ask("k-old")).status, 200);
    }
    for text in ["team-c:k-new:read", "team-c:k-new:exec", "team-c:k-old:read"] {
        file.reload(&world.gateway, text);
    }
    for wire in &mut wires {
        assert_eq!(wire.ask(&ask("k-new")).status, 401);
        assert_eq!(wire.ask(&ask("k-old")).status, 200);
    }
}

#[test]
fn a_token_may_do_what_its_key_may_do_now() {
    let file = KeysFile::new("team-c:k-tenant:exec");
    let world = file.world();
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key("k-tenant");
    let created = create.send(world.control()).json();
    let id = created["sandboxID"].as_str().unwrap();
    let token = created["envdAccessToken"].as_str().unwrap();
    let envd = |path: &str| {
        let ask = Ask::get(path).header("X-Access-Token", token);
        world.ask_sandbox(id, 49_983, ask)
    };
    assert_eq!((envd("/health").status, envd("/envs").status), (204, 200));

    file.reload(&world.gateway, "team-c:k-tenant:read");
    assert_eq!(envd("/health").status, 204);
    let refused = envd("/envs");
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["message"], "API key lacks required scope: exec");

    // More than exec on this one sandbox it never is.
    file.reload(&world.gateway, "team-c:k-tenant:admin");
    assert_eq!(envd("/envs").status, 200);
    let (foreign, _) = world.create("exec");
    let elsewhere = Ask::get("/health").header("X-Access-Token", token);
    assert_eq!(world.ask_sandbox(&foreign, 49_983, elsewhere).status, 404);

    // The same key of another tenant is another key.
    file.reload(&world.gateway, "team-d:k-tenant:exec");
    assert_eq!(envd("/health").status, 401);
    file.reload(&world.gateway, "team-c:k-another:exec");
    assert_eq!(envd("/health").status, 401);
    file.reload(&world.gateway, "team-c:k-tenant:exec");
    assert_eq!(envd("/envs").status, 200);
}

#[test]
fn a_key_is_good_between_its_dates() {
    let now = UnixTime::now().0;
    let entry = |key: &str, field: &str, at: u64| {
        format!(
            r#"{{"tenantID":"team-c","key":"{key}","scopes":["exec"],"{field}":"{}"}}"#,
            UnixTime(at)
        )
    };
    let entries = [
        entry("k-begun", "notBefore", now - 5),
        entry("k-early", "notBefore", now + 3_600),
        entry("k-begins", "notBefore", now + 3),
        entry("k-over", "expiresAt", now - 1),
        entry("k-long", "expiresAt", now + 3_600),
        entry("k-ends", "expiresAt", now + 3),
    ];
    let file = KeysFile::new(&format!("[{}]", entries.join(",")));
    let world = file.world();
    for (key, expected) in [("k-begun", 200), ("k-early", 401), ("k-over", 401), ("k-long", 200)] {
        assert_eq!(status(&world.gateway, key), expected, "{key}");
    }
    becomes(&world.gateway, "k-begins", 200);
    becomes(&world.gateway, "k-ends", 401);
    assert!(UnixTime::now().0 >= now + 3, "too early");
    // What is refused for its date is refused in the same words as a stranger.
    let words = |key: &str| Ask::get("/auth/whoami").key(key).send(world.control()).text();
    assert_eq!(words("k-over"), words("k-unknown"));
}

#[test]
fn gateways_that_share_a_secret_read_each_others_tokens() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let opens = |gateway: &Gateway| {
        let ask = Ask::get("/envs").header("X-Access-Token", &token);
        let ask = ask.header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", "49983");
        ask.send(gateway.address("port=*")).status
    };
    let same = world.replica();
    assert_eq!((opens(&world.gateway), opens(&same)), (200, 200));
    let secret = "another secret that is quite as long as the first one";
    let other = world.sibling(|setup| setup.env("COPPICE_SECRET", secret));
    assert_eq!(opens(&other), 401);
    let rotating = format!("{secret},{}", crate::support::world::SECRET);
    let rotating = world.sibling(|setup| setup.env("COPPICE_SECRET", rotating));
    assert_eq!(opens(&rotating), 200);
}

#[test]
fn a_kept_secret_outlives_the_process() {
    let kept = tempfile::tempdir().unwrap();
    let directory = kept.path().join("made/here");
    let kept_only = |setup: Setup| setup.without("COPPICE_SECRET").state_dir(&directory);
    let world = World::with(Options::default(), kept_only);
    let (id, token) = world.create("exec");
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));

    let file = std::fs::metadata(directory.join("secret")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let names = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name());
    let secrets = names.filter(|name| name.to_str().unwrap().starts_with("secret"));
    assert_eq!(secrets.count(), 1, "nothing is left beside it");

    let next = world.sibling(kept_only);
    let ask = Ask::get("/envs").header("X-Access-Token", &token);
    let ask = ask.header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", "49983");
    assert_eq!(ask.send(next.address("port=*")).status, 200);
    // Without one, tokens die with the process, and it says so.
    let forgetful = world.sibling(|setup| setup.without("COPPICE_SECRET"));
    assert_eq!(ask.send(forgetful.address("port=*")).status, 401);
    forgetful.wait_for_log(&["\"WARN\"", "tokens die with the process"]);
}

#[test]
fn an_open_gateway_does_not_pretend_to_have_taken_keys() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, "").unwrap();
    let world = World::with(Options::default(), |setup| {
        setup.without("COPPICE_API_KEYS").env("COPPICE_CONFIG", file.to_str().unwrap())
    });
    assert_eq!(status(&world.gateway, "k-wrong"), 200);
    std::fs::write(&file, "[auth]\napi_keys = [\"team-a:k-new:read\"]\n").unwrap();
    world.gateway.signal("HUP");
    world.gateway.wait_for_log(&["\"ERROR\"", "not reloaded", "open"]);
    assert!(!world.gateway.log().iter().any(|line| line.contains("\"reloaded; settings")));
}
