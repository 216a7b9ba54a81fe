//! Settings as an operator meets them: through `check`, and through a start that is refused.

use std::fmt::Write as _;

use crate::support::Program;

fn with_upstream() -> Program {
    Program::new().env("COPPICE_UPSTREAM", "http://127.0.0.1:9")
}

#[test]
fn check_sums_up_sound_settings() {
    let ended = with_upstream()
        .env("COPPICE_API_KEYS", "team-a:sk-canary:admin|exec,team-b:sk-canary-2:read")
        .env("COPPICE_SECRET", &"canary-".repeat(5))
        .run(&["check", "--listen", "0.0.0.0:0"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(
        ended.out,
        "the settings are sound\nlisten\t0.0.0.0:0\nupstream\thttp://127.0.0.1:9\nkeys\t2 of 2 tenants\n"
    );
}

#[test]
fn check_tells_every_problem_and_no_key() {
    let program = Program::new()
        .env("COPPICE_API_KEYS", "team-a:sk-canary:write,team-b:sk-canary")
        .env("COPPICE_DRAIN_TIMEOUT", "soon")
        .env("COPPICE_SECRET", "canary")
        .env("AUTH_CALLBACK_URL", "http://canary");
    program.file(
        "keys",
        "# keys\nteam-c:sk-canary:exec|read\nteam-d:sk-canary:exec\n  team-e::read\n",
    );
    program.file("gateway.toml", "[server]\nworkers = 0\nlisten = ''\nport = 1\n");
    let ended = program.run(&["check", "--config", "gateway.toml", "--api-keys-file", "keys"]);
    assert_eq!((ended.code, ended.out.as_str()), (78, ""));
    assert_eq!(
        ended.err.lines().collect::<Vec<_>>(),
        [
            "AUTH_CALLBACK_URL: is not supported by this version",
            "COPPICE_API_KEYS: entry 1 (tenant team-a): a scope is unknown (known, in lower case: read, exec, owner, admin)",
            "COPPICE_API_KEYS: entry 2 (tenant team-b): has a field too few; write tenant:key:scope|scope",
            "COPPICE_DRAIN_TIMEOUT: 'soon' is no duration; write a whole number with ms, s, m or h",
            "COPPICE_SECRET: a secret is shorter than 32 bytes",
            "gateway.toml:2:11: server.workers: '0' is no whole number from 1 to 1024",
            "gateway.toml:3:10: server.listen: is empty; remove it or give it a value",
            "gateway.toml:4:1: server.port: unknown setting",
            "keys:4:3: entry 3 (tenant team-e): the key is empty",
            "upstream.url: is required; set --upstream, COPPICE_UPSTREAM or this key of the file",
        ]
    );
}

#[test]
fn a_start_with_bad_settings_is_refused() {
    for args in [&["serve", "--workers", "x"][..], &["--workers", "x"]] {
        let ended = with_upstream().run(args);
        assert_eq!(ended.code, 78);
        assert_eq!(ended.err, "--workers: 'x' is no whole number from 1 to 1024\n");
    }
}

#[test]
fn an_open_gateway_does_not_listen_beyond_loopback() {
    let refused = with_upstream().run(&["--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, 78);
    assert!(
        refused.err.starts_with("--listen: 0.0.0.0:0 is reachable from elsewhere"),
        "{refused:?}"
    );
    let allowed = with_upstream().run(&["check", "--listen", "0.0.0.0:0", "--allow-open"]);
    assert_eq!(allowed.code, 0);
    assert!(allowed.err.contains("warning: no keys are set: the gateway is open"), "{allowed:?}");
}

#[test]
fn an_empty_key_variable_is_refused() {
    for (name, value) in
        [("COPPICE_API_KEYS", ""), ("COPPICE_API_KEYS", " \n,"), ("COPPICE_API_KEYS_FILE", "")]
    {
        let ended = with_upstream().env(name, value).run(&["check"]);
        assert_eq!(ended.code, 78, "{name}={value:?}");
        assert!(ended.err.starts_with(name), "{ended:?}");
    }
}

#[test]
fn the_example_file_is_sound() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.example.toml");
    let ended = with_upstream().run(&["check", "--config", example]);
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn ten_thousand_keys() {
    let mut keys = String::new();
    for number in 0..10_000 {
        writeln!(keys, "team-{}:sk-{number}:read|exec", number % 100).unwrap();
    }
    let program = with_upstream();
    program.file("keys", &keys);
    let ended = program.run(&["check", "--api-keys-file", "keys"]);
    assert!(ended.out.ends_with("keys\t10000 of 100 tenants\n"), "{ended:?}");
}
