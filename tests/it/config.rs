//! Settings as an operator meets them: through `check`, and through a start that is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;

use coppice_gateway::simulator::{Options, Simulator};

use crate::support::{Program, Upstream};

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
        "the settings are sound\nlisten\t0.0.0.0:0\nupstream\thttp://127.0.0.1:9\n\
         tenant isolation\ton\nlimits\tnone\nkeys\t2 of 2 tenants\n"
    );
}

#[test]
fn check_sums_up_what_tenants_may() {
    let program = with_upstream()
        .env("COPPICE_STATE_DIR", "/nowhere")
        .env("COPPICE_TENANT_SANDBOX_LIMITS", "team-b=10,team-a=2")
        .env("COPPICE_TENANT_MAX_SANDBOXES", "8");
    let open = program.run(&["check"]);
    assert!(!open.out.contains("limits"), "{open:?}");
    let program = program.env("COPPICE_API_KEYS", "team-a:k:read");
    let ended = program.run(&["check"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let limits = "limits\tteam-a=2, team-b=10, *=8; above that, 403\n";
    assert!(ended.out.contains(&format!("\ntenant isolation\ton\n{limits}")), "{ended:?}");

    let ended = program
        .env("COPPICE_TENANT_ISOLATION", "off")
        .env("COPPICE_QUOTA_STATUS", "429")
        .run(&["check"]);
    assert_eq!(ended.code, 0);
    assert!(ended.err.starts_with("warning: COPPICE_TENANT_ISOLATION: "), "{ended:?}");
    assert!(ended.out.contains("\ntenant isolation\toff: sandboxes are only labelled\n"));
    assert!(ended.out.contains("*=8; above that, 429\n"), "{ended:?}");

    let many: Vec<String> = (0..25).map(|number| format!("t{number:02}=1")).collect();
    let ended = with_upstream().env("COPPICE_API_KEYS", "team-a:k:read").run(&[
        "check",
        "--tenant-sandbox-limits",
        &many.join(","),
    ]);
    assert!(ended.out.contains(", t19=1 and 5 more; above that, 403\n"), "{ended:?}");
}

#[test]
fn a_live_check_asks_the_upstream_and_changes_nothing() {
    let wanted = Some("upstream-canary".to_owned());
    let simulator = Simulator::start(Options { api_key: wanted, ..Options::default() }).unwrap();
    let check = |variables: &[(&str, &str)]| {
        let program = Program::new().env("COPPICE_UPSTREAM", &simulator.api_url());
        let program = program.env("COPPICE_STATE_DIR", "/nowhere");
        let program = variables.iter().fold(program, |p, (name, value)| p.env(name, value));
        let ended = program.run(&["check", "--live"]);
        assert!(!ended.out.contains("canary") && !ended.err.contains("canary"), "{ended:?}");
        ended
    };
    let keys = ("COPPICE_API_KEYS", "team-a:k:read");
    let good = ("COPPICE_UPSTREAM_API_KEY", "upstream-canary");
    let sound =
        "\nupstream, live\tanswers (GET /health: 204), takes the key, lists sandboxes as v2, ";
    let ended = check(&[keys, good]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let unmarked = "lists no sandbox with a marker, so that the first create will tell";
    assert!(ended.out.contains(&format!("{sound}{unmarked}")), "{ended:?}");

    simulator.seed([BTreeMap::from([("coppice_tenant_id".to_owned(), "team-a".to_owned())])]);
    let ended = check(&[keys, good]);
    assert!(ended.out.ends_with(&format!("{sound}keeps metadata\n")), "{ended:?}");

    let ended = check(&[keys, ("COPPICE_UPSTREAM_API_KEY", "other-canary")]);
    let refused = "the upstream: it refuses the key of COPPICE_UPSTREAM_API_KEY with 401\n";
    assert!(ended.code == 1 && ended.err.ends_with(refused), "{ended:?}");
    assert_eq!(check(&[keys]).code, 1);
    assert_eq!(check(&[]).code, 0, "clients of an open gateway bring their own key");
    assert!(simulator.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn a_live_check_tells_an_upstream_that_knows_only_v1() {
    let upstream = Upstream::start(|_, talk| {
        while let Some(head) = talk.request() {
            let status = if head.starts_with("GET /sandboxes ") { "200 OK" } else { "404 No" };
            talk.send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n[]"));
        }
    });
    let program = Program::new().env("COPPICE_API_KEYS", "team-a:k:read");
    let ended = program.run(&["check", "--live", "--upstream", &upstream.url()]);
    let said = "answers (GET /health: 404), asks for no key, lists sandboxes as v1 alone, ";
    assert!(ended.code == 0 && ended.out.contains(said), "{ended:?}");
}

#[test]
fn a_live_check_tells_an_upstream_that_is_away() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let program = Program::new().env("COPPICE_API_KEYS", "team-a:k:read");
    let ended =
        program.env("COPPICE_STATE_DIR", "/nowhere").run(&["check", "--live", "--upstream", &url]);
    assert_eq!(ended.code, 1);
    assert!(ended.out.starts_with("the settings are sound\n"), "{ended:?}");
    assert!(
        ended.err.contains("refused")
            && ended.err.contains(&format!("the upstream: {url}: it cannot be reached: "))
    );
    let unasked = Program::new().run(&["check", "--upstream", &url]);
    assert_eq!(unasked.code, 0);
}

#[test]
fn check_sums_up_the_auth_callback() {
    let program = with_upstream()
        .env("COPPICE_STATE_DIR", "/nowhere")
        .env("AUTH_CALLBACK_URL", "https://auth.test/verify?tok=canary");
    let ended = program.run(&["check", "--listen", "0.0.0.0:0"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(
        ended.out.ends_with(
            "\nkeys\tnone\nauth callback\thttps://auth.test/verify (query redacted); timeout 5s, connect 1s; \
             cache as answers say\n"
        ),
        "{ended:?}"
    );
    let ended = program.env("COPPICE_API_KEYS", "team-a:k:read").run(&[
        "check",
        "--auth-callback-url=http://auth.test/verify",
        "--auth-callback-cache-ttl=30s",
        "--auth-callback-stale-if-error=10m",
    ]);
    assert_eq!(ended.code, 0);
    assert!(ended.err.starts_with("warning: --auth-callback-url: is http:// beyond loopback"));
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert!(
        ended.out.ends_with(
            "\nkeys\t1 of 1 tenants\nauth callback\thttp://auth.test/verify; timeout 5s, connect 1s; \
             cache 30s, stale 600s\n"
        ),
        "{ended:?}"
    );
}

#[test]
fn a_faulty_callback_never_opens_the_gateway() {
    const GOOD: &str = "http://127.0.0.1:9/verify?tok=canary";
    for (variables, said) in [
        (&[("AUTH_CALLBACK_URL", "")][..], "AUTH_CALLBACK_URL: is empty; remove it"),
        (&[("AUTH_CALLBACK_URL", " ")], "AUTH_CALLBACK_URL: is empty; remove it"),
        (&[("AUTH_CALLBACK_URL", "ftp://canary")], "AUTH_CALLBACK_URL: must start with http://"),
        (&[("AUTH_CALLBACK_URL", "canary")], "AUTH_CALLBACK_URL: is no whole URL"),
        (
            &[("AUTH_CALLBACK_URL_FILE", "/nowhere/canary")],
            "AUTH_CALLBACK_URL_FILE: the file cannot",
        ),
        (&[("AUTH_CALLBACK_TIMEOUT", "5s")], "AUTH_CALLBACK_TIMEOUT: needs --auth-callback-url"),
        (&[("AUTH_CALLBACK_URI", GOOD)], "AUTH_CALLBACK_URI: no such setting; did you mean"),
        (&[("AUTH_CALLBACK_URL", GOOD), ("COPPICE_WORKERS", "x")], "COPPICE_WORKERS: 'x' is no"),
        (&[("AUTH_CALLBACK_URL", GOOD), ("COPPICE_API_KEYS", "")], "COPPICE_API_KEYS: is empty"),
        (
            &[("AUTH_CALLBACK_URL", GOOD), ("AUTH_CALLBACK_MAX_CALLS", "0")],
            "AUTH_CALLBACK_MAX_CALLS",
        ),
        (
            &[("AUTH_CALLBACK_URL", GOOD), ("AUTH_CALLBACK_TTL", "5s")],
            "AUTH_CALLBACK_TTL: no such setting; did you mean AUTH_CALLBACK_CACHE_TTL?",
        ),
    ] {
        for command in ["serve", "check"] {
            let program =
                variables.iter().fold(with_upstream(), |p, (name, value)| p.env(name, value));
            let ended = program.run(&[command, "--listen", "127.0.0.1:0"]);
            assert_eq!((ended.code, ended.out.as_str()), (78, ""), "{variables:?}");
            assert!(ended.err.starts_with(said), "{ended:?}");
            assert!(ended.err.lines().count() == 1 && !ended.err.contains("canary"), "{ended:?}");
        }
    }
}

#[test]
fn check_tells_every_problem_and_no_key() {
    let program = Program::new()
        .env("COPPICE_API_KEYS", "team-a:sk-canary:write,team-b:sk-canary")
        .env("COPPICE_DRAIN_TIMEOUT", "soon")
        .env("COPPICE_SECRET", "canary")
        .env("AUTH_CALLBACK_URL", "ftp://canary");
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
            "AUTH_CALLBACK_URL: must start with http:// or https://",
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

#[test]
fn settings_of_the_audit_log() {
    let program = with_upstream().env("COPPICE_AUDIT_LOG", "logs/audit.jsonl");
    let ended = program.run(&[
        "check",
        "--audit-rotate-size=10M",
        "--audit-policy=block",
        "--audit-sync=none",
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("\naudit log\tlogs/audit.jsonl\n"), "{ended:?}");
    assert!(!program.home.path().join("logs").exists());
    for (name, value, said) in [
        ("COPPICE_AUDIT_LOG", "", "is empty"),
        ("COPPICE_AUDIT_POLICY", "wait", "'wait' is neither drop nor block"),
        ("COPPICE_AUDIT_SYNC", "never", "'never' is no duration"),
        ("COPPICE_AUDIT_ROTATE_SIZE", "1K", "'1K' is no size of at least 64K"),
        ("COPPICE_AUDIT_LOGS", "x", "is not supported by this version"),
    ] {
        let ended = with_upstream().env(name, value).run(&["check"]);
        assert_eq!(ended.code, 78, "{name}={value}");
        assert!(ended.err.contains(&format!("{name}: {said}")), "{ended:?}");
    }
    let ended = with_upstream().run(&["check", "--audit-policy", "block"]);
    assert_eq!(ended.code, 0);
    assert!(ended.err.contains("--audit-policy: means nothing without --audit-log"), "{ended:?}");
}
