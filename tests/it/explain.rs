//! `explain` and `routes`: what they answer from the command line and the settings alone.

use serde_json::{Value, json};

use crate::support::Program;

const KEYS: &str = "team-a:key-of-a:exec,team-b:key-of-b:read";

/// A program with a domain and keys, and no upstream.
fn configured() -> Program {
    Program::new().env("COPPICE_DOMAIN", "box.dev").env("COPPICE_API_KEYS", KEYS)
}

fn lines(text: &str) -> Vec<(&str, &str)> {
    text.lines().skip(1).filter_map(|line| line.trim().split_once(' ')).collect()
}

/// The value of a line of the answer; empty if there is none.
fn fact<'a>(text: &'a str, name: &str) -> &'a str {
    let found = lines(text).into_iter().find(|(own, _)| *own == name);
    found.map_or("", |(_, value)| value.trim())
}

#[test]
fn without_settings_scopes_decide() {
    for (args, code, verdict, why) in [
        (&["GET", "/health"][..], 0, "allowed", "public"),
        (&["GET", "/sandboxes"], 1, "refused, 401", "a credential is needed"),
        (&["get", "/sandboxes?limit=1", "--scopes", "read"], 0, "allowed", "scope read"),
        (&["POST", "/sandboxes", "--scopes", "read"], 1, "refused, 403", "required scope: exec"),
        (&["POST", "/sandboxes", "--scopes", "read|exec"], 0, "allowed", "scope exec"),
        (&["POST", "/sandboxes", "--scopes", "read, exec"], 0, "allowed", "scope exec"),
        (&["GET", "/nowhere", "--scopes", "owner"], 1, "refused, 403", "required scope: admin"),
        (&["GET", "/a/../b", "--scopes", "admin"], 1, "refused, 400", "'..'"),
        (
            &["DELETE", "/sandboxes/i1", "--scopes", "exec", "--tenant", "team-x"],
            0,
            "allowed",
            "belong to tenant team-x",
        ),
    ] {
        let ended = Program::new().run(&[&["explain"], args].concat());
        assert_eq!((ended.code, ended.err.as_str()), (code, ""), "{args:?}");
        assert_eq!(fact(&ended.out, "verdict"), verdict, "{args:?}");
        assert!(fact(&ended.out, "why").contains(why), "{args:?}: {}", ended.out);
    }
}

#[test]
fn the_host_says_which_plane_it_is_for() {
    let program = configured();
    for (host, path, surface, port, code) in [
        ("api.box.dev", "/files", "api", "", 1),
        ("127.0.0.1:3000", "/files", "api", "", 1),
        ("49983-i1.box.dev", "/files", "envd", "49983", 0),
        ("49983-I1.BOX.DEV:443", "/files", "envd", "49983", 0),
        ("49999-i1.box.dev", "/execute", "interpreter", "49999", 0),
        ("8080-i1.box.dev", "/a//b", "port", "8080", 0),
        ("08080-i1.box.dev", "/", "", "", 1),
        ("sandbox.box.dev", "/", "", "", 1),
    ] {
        let ended = program.run(&["explain", "GET", path, "--host", host, "--token", "key-of-a"]);
        assert_eq!((ended.code, ended.err.as_str()), (code, ""), "{host}: {}", ended.out);
        assert_eq!(fact(&ended.out, "surface"), surface, "{host}");
        assert_eq!(fact(&ended.out, "port"), port, "{host}");
    }
    let unknown = Program::new().run(&["explain", "GET", "/", "--host", "80-i1.box.dev"]);
    assert_eq!(
        fact(&unknown.out, "surface"),
        "api",
        "without a domain it is a host like any other"
    );
}

#[test]
fn a_token_is_looked_up_in_the_configured_keys() {
    let program = configured();
    program.file("token", "key-of-b\n");
    let create = ["explain", "POST", "/sandboxes"];
    let asked =
        |how: &[&str], input: &[u8]| program.run_with_input(&[&create[..], how].concat(), input);
    assert_eq!(asked(&["--token", "key-of-a"], b"").code, 0);
    assert_eq!(asked(&["--token-stdin"], b"key-of-a\n").code, 0);
    let refused = asked(&["--token-file", "token"], b"");
    assert_eq!((refused.code, fact(&refused.out, "verdict")), (1, "refused, 403"));
    let nobody = asked(&[], b"");
    assert_eq!((nobody.code, fact(&nobody.out, "verdict")), (1, "refused, 401"));

    let unknown = asked(&["--token", "canary"], b"");
    assert_eq!(
        (unknown.code, unknown.out.as_str(), unknown.err.as_str()),
        (1, "", "error: the token is none of the configured keys\n")
    );
}

#[test]
fn a_key_out_of_its_time_is_not_looked_through() {
    let program = Program::new();
    let keys = json!([
        {"tenantID": "team-a", "key": "late", "scopes": ["read"], "expiresAt": "2001-01-01T00:00:00Z"},
        {"tenantID": "team-a", "key": "early", "scopes": ["read"], "notBefore": "2999-01-01T00:00:00Z"},
    ]);
    program.file("keys", &keys.to_string());
    for (key, when) in
        [("late", "only until 2001-01-01T00:00:00Z"), ("early", "only from 2999-01-01T00:00:00Z")]
    {
        let args = ["explain", "GET", "/sandboxes", "--api-keys-file", "keys", "--token", key];
        let ended = program.run(&args);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""));
        assert!(ended.err.contains("of tenant team-a is not valid now"), "{ended:?}");
        assert!(ended.err.contains(when), "{ended:?}");
    }
}

#[test]
fn a_gateway_without_keys_is_open() {
    let program = Program::new().env("COPPICE_UPSTREAM", "http://127.0.0.1:9");
    let open = program.run(&["explain", "POST", "/sandboxes"]);
    assert_eq!(open.code, 0);
    assert!(fact(&open.out, "why").contains("no authenticator"), "{open:?}");
    let hidden = program.run(&["explain", "POST", "/api-keys"]);
    assert_eq!((hidden.code, fact(&hidden.out, "verdict")), (1, "refused, 404"));
    let token = program.run(&["explain", "POST", "/sandboxes", "--token", "canary"]);
    assert_eq!((token.code, token.out.as_str()), (1, ""));
    assert!(token.err.contains("no keys are configured"), "{token:?}");
}

#[test]
fn the_callback_is_named_and_not_asked() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/verify", listener.local_addr().unwrap());
    let program = configured().env("AUTH_CALLBACK_URL", &format!("{url}?tok=canary"));
    let create = ["explain", "POST", "/sandboxes"];
    let asked = |how: &[&str]| program.run(&[&create[..], how].concat());

    let stranger = asked(&["--token", "canary"]);
    assert_eq!((stranger.code, stranger.err.as_str()), (1, ""));
    assert_eq!(fact(&stranger.out, "verdict"), "undecided");
    assert_eq!((fact(&stranger.out, "class"), fact(&stranger.out, "scope")), ("exec", "exec"));
    assert_eq!(fact(&stranger.out, "callback"), url);
    let why = fact(&stranger.out, "why");
    assert!(why.contains("the auth callback, which was not asked, decides whose it is"), "{why}");
    assert!(why.ends_with("the route needs the scope exec"), "{why}");

    let answer = asked(&["--token", "canary", "--json"]);
    let json: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(
        (answer.code, &json["verdict"], &json["status"], &json["callback"], &json["scope"]),
        (1, &json!("undecided"), &json!(null), &json!(url), &json!("exec"))
    );
    for said in [&stranger.out, &answer.out] {
        assert!(!said.contains("canary"), "{said}");
    }

    for (how, code, verdict) in [
        (&["--token", "key-of-a"][..], 0, "allowed"),
        (&["--token", "key-of-b"], 1, "refused, 403"),
        (&["--scopes", "exec"], 0, "allowed"),
        (&[], 1, "refused, 401"),
    ] {
        let ended = asked(how);
        assert_eq!((ended.code, fact(&ended.out, "verdict")), (code, verdict), "{how:?}");
        assert_eq!(fact(&ended.out, "callback"), "", "{how:?}");
    }
    assert!(listener.accept().is_err(), "somebody called");
}

#[test]
fn a_callback_alone_is_no_open_gateway() {
    let program = Program::new()
        .env("COPPICE_UPSTREAM", "http://127.0.0.1:9")
        .env("AUTH_CALLBACK_URL", "https://auth.test/verify");
    let nobody = program.run(&["explain", "POST", "/sandboxes"]);
    assert_eq!((nobody.code, fact(&nobody.out, "verdict")), (1, "refused, 401"));
    let somebody = program.run(&["explain", "POST", "/sandboxes", "--token", "x"]);
    assert_eq!((somebody.code, fact(&somebody.out, "verdict")), (1, "undecided"));
    let public = program.run(&["explain", "GET", "/health", "--token", "x"]);
    assert_eq!((public.code, fact(&public.out, "verdict")), (0, "allowed"));
    let faulty = program.env("AUTH_CALLBACK_TIMEOUT", "0").run(&["explain", "GET", "/health"]);
    assert_eq!((faulty.code, faulty.out.as_str()), (78, ""));
}

#[test]
fn the_limit_is_named_with_where_it_was_set() {
    let program = configured()
        .env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=2,team-c=0")
        .env("COPPICE_TENANT_MAX_SANDBOXES", "8");
    let create = ["explain", "POST", "/v2/sandboxes"];
    let asked = |how: &[&str]| program.run(&[&create[..], how].concat());
    let of = |limit, tenant, origin: &str| {
        format!(
            "one active sandbox more; limit of {limit} active sandboxes for tenant {tenant} ({origin})"
        )
    };
    for (how, code, effect, quota) in [
        (&["--token", "key-of-a"][..], 0, "+1", of(2, "team-a", "COPPICE_TENANT_SANDBOX_LIMITS")),
        (
            &["--scopes", "exec", "--tenant", "team-b"],
            0,
            "+1",
            of(8, "team-b", "COPPICE_TENANT_MAX_SANDBOXES"),
        ),
        (
            &["--token", "key-of-a", "--tenant-sandbox-limits", "*=7"],
            0,
            "+1",
            of(7, "team-a", "--tenant-sandbox-limits, for *"),
        ),
        (
            &["--scopes", "exec"],
            0,
            "+1",
            "one active sandbox more; the limit depends on the caller's tenant".to_owned(),
        ),
        (&["--token", "key-of-b"], 1, "+1", String::new()),
        (&["--scopes", "exec", "--tenant", "team-c"], 1, "+1", String::new()),
    ] {
        let ended = asked(how);
        assert_eq!((ended.code, ended.err.as_str()), (code, ""), "{how:?}");
        assert_eq!((fact(&ended.out, "effect"), fact(&ended.out, "quota")), (effect, &*quota));
    }
    let none = asked(&["--scopes", "exec", "--tenant", "team-c", "--json"]);
    let none: Value = serde_json::from_str(&none.out).unwrap();
    assert_eq!((&none["status"], &none["quota"]), (&json!(403), &json!(null)));
    assert_eq!(none["why"], "tenant team-c has reached its limit of 0 active sandboxes");

    let other = configured();
    other.file("gateway.toml", "[tenants]\nsandbox_limits = ['team-a=3', '*=5']\n");
    let of_file = other.run(
        &[&create[..], &["--config", "gateway.toml", "--token", "key-of-a", "--json"]].concat(),
    );
    let of_file: Value = serde_json::from_str(&of_file.out).unwrap();
    assert_eq!(
        (&of_file["effect"], of_file["quota"].as_str().unwrap()),
        (&json!("+1"), &*of(3, "team-a", "gateway.toml:2:18: tenants.sandbox_limits"))
    );
}

#[test]
fn bad_settings_are_told() {
    let ended = configured().run(&["explain", "GET", "/", "--domain", "http://x"]);
    assert_eq!((ended.code, ended.out.as_str()), (78, ""));
    assert!(ended.err.starts_with("--domain: "), "{ended:?}");
}

#[test]
fn the_answer_as_json() {
    let args = ["explain", "PUT", "/files", "--host", "49983-i1.box.dev", "--scopes", "read"];
    let ended = configured().run(&[&args[..], &["--json"]].concat());
    assert_eq!(ended.code, 1);
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        answer,
        json!({
            "method": "PUT", "path": "/files", "surface": "envd", "sandbox": "i1", "port": 49983,
            "rule": "the path is listed, but not with this method", "class": "exec", "scope": "exec",
            "effect": null, "quota": null, "callback": null, "verdict": "refused", "status": 403, "why": "API key lacks required scope: exec",
        })
    );
}

#[test]
fn routes_as_json_hold_the_whole_table() {
    let ended = Program::new().run(&["routes", "--json"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let Value::Array(rows) = serde_json::from_str(&ended.out).unwrap() else { panic!("no array") };
    assert_eq!(rows.len(), coppice_gateway::route::table::rows().count());
    for row in &rows {
        for field in ["surface", "pattern", "class", "effect"] {
            assert!(row[field].is_string(), "{field} of {row}");
        }
        assert!(row["methods"].as_array().is_some_and(|methods| !methods.is_empty()), "{row}");
    }
    let text = Program::new().run(&["routes"]);
    assert_eq!(text.out.lines().count(), rows.len() + 1, "a heading and a line each");
}
