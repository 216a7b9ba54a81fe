//! The route table as a user meets it: who may do what, that every known upstream operation is classified, and that no
//! spelling of a path gets round its class.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use coppice_gateway::policy::{Requirement, Verdict};
use coppice_gateway::principal::{Scope, Scopes};
use coppice_gateway::route::{Authority, CanonicalPath, HostKind, Match, Router, Rule, table};
use http::Method;

/// What the gateway answers a caller with one scope, or without any credential, before it asks upstream.
fn answer(found: &Match<'_>, caller: Option<Scope>, upgrade: bool) -> String {
    let requirement = Requirement::of(found.class, upgrade);
    let Some(scope) = caller else {
        let public = requirement == Requirement::Nothing && found.method_not_allowed.is_none();
        return if public { "ok" } else { "401" }.to_owned();
    };
    if found.method_not_allowed.is_some() {
        return "405".to_owned();
    }
    match requirement.verdict(Scopes::default().with(scope)) {
        Verdict::Public | Verdict::Allowed => "ok".to_owned(),
        Verdict::MissingScope(_) => "403".to_owned(),
        Verdict::Hidden => "404".to_owned(),
    }
}

const CALLERS: [(&str, Option<Scope>); 5] = [
    ("none", None),
    ("read", Some(Scope::Read)),
    ("exec", Some(Scope::Exec)),
    ("owner", Some(Scope::Owner)),
    ("admin", Some(Scope::Admin)),
];

/// The answers to a control-plane request for each of [`CALLERS`], or `400`.
fn control(router: &Router, method: &str, path: &str, upgrade: bool) -> String {
    let method: Method = method.parse().unwrap();
    let found = CanonicalPath::parse(path).and_then(|path| router.find_control(&method, &path));
    answers(found.ok(), upgrade)
}

/// The answers to a request to a sandbox port.
fn data(router: &Router, port: u16, method: &str, path: &str) -> String {
    answers(router.find_data(port, &method.parse().unwrap(), path).ok(), false)
}

fn answers(found: Option<Match<'_>>, upgrade: bool) -> String {
    match found {
        None => "400".to_owned(),
        Some(found) => CALLERS.map(|(_, caller)| answer(&found, caller, upgrade)).join(" "),
    }
}

const PUBLIC: &str = "ok ok ok ok ok";
const ANY_KEY: &str = "401 ok ok ok ok";
const READ: &str = ANY_KEY;
const EXEC: &str = "401 403 ok ok ok";
const OWNER: &str = "401 403 403 ok ok";
const ADMIN: &str = "401 403 403 403 ok";
const NOBODY: &str = "401 404 404 404 404";
const NOT_THIS_METHOD: &str = "401 405 405 405 405";
const BAD: &str = "400";

/// Compares with a file under `tests/golden`, or writes it if `UPDATE_GOLDEN` is set.
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the gateway")]
fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let mut diff = String::new();
    for line in expected.lines().filter(|line| !actual.lines().any(|other| other == *line)) {
        writeln!(diff, "- {line}").unwrap();
    }
    for line in actual.lines().filter(|line| !expected.lines().any(|other| other == *line)) {
        writeln!(diff, "+ {line}").unwrap();
    }
    assert!(
        actual == expected,
        "tests/golden/{name} differs (lines may also have moved):\n{diff}\
         If that is intended: UPDATE_GOLDEN=1 cargo test --test it, and read the difference before you commit it."
    );
}

#[test]
fn the_matrix_is_the_one_reviewed() {
    let mut text = String::from(
        "# Every row of the route table with the answer to each caller, before ownership and quotas.\n\
         # none: no credential.\n",
    );
    let callers = CALLERS.map(|(name, _)| format!("{name:<5}")).join(" ");
    writeln!(text, "{:<11} {:<30} {:<46} {callers} class", "surface", "methods", "pattern")
        .unwrap();
    for row in table::rows() {
        let found = Match {
            surface: row.surface,
            rule: Rule::Row(row),
            class: row.class,
            sandbox: None,
            method_not_allowed: None,
        };
        let verdicts =
            CALLERS.map(|(_, caller)| format!("{:<5}", answer(&found, caller, false))).join(" ");
        let methods = row.methods.to_string();
        let mut line = format!(
            "{:<11} {methods:<30} {:<46} {verdicts} {:<6} {:<3}",
            row.surface.name(),
            row.pattern,
            row.class.name(),
            row.effect.sign()
        );
        for word in row.words() {
            write!(line, " {word}").unwrap();
        }
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    golden("routes.txt", &text);
}

/// Operations that no row lists on purpose: they need admin.
const LEFT_TO_THE_DEFAULT: [(&str, &str); 2] = [
    // The unprefixed path is the public one, and the only one.
    ("GET", "/cubeapi/v1/health"),
    // A login of the upstream's own, which would go round the gateway.
    ("POST", "/cubeapi/v1/auth/login"),
];

#[test]
fn every_upstream_operation_is_classified() {
    let router = Router::new();
    let mut operations = 0;
    let mut wrong = BTreeMap::new();
    for line in include_str!("../data/upstream-operations.tsv").lines() {
        if line.starts_with('#') {
            continue;
        }
        let [plane, method, pattern, source] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not four columns: {line:?}");
        };
        let segments = pattern.split('/');
        let path = segments
            .map(|s| if s.starts_with('{') { "x1" } else { s })
            .collect::<Vec<_>>()
            .join("/");
        let verb: Method = method.parse().unwrap();
        let parsed = CanonicalPath::parse(&path).unwrap();
        let found = match plane {
            "control" => router.find_control(&verb, &parsed),
            "envd" => router.find_data(49983, &verb, &path),
            "interpreter" => router.find_data(49999, &verb, &path),
            other => panic!("unknown plane {other:?}"),
        }
        .unwrap();
        let on_purpose = LEFT_TO_THE_DEFAULT.contains(&(method, pattern));
        if found.route().is_none() != on_purpose {
            wrong.insert(format!("{plane} {method} {pattern} ({source})"), found.rule);
        }
        operations += 1;
    }
    assert!(operations > 150, "only {operations} operations read");
    assert!(
        wrong.is_empty(),
        "operations to add to the route table, or to the exceptions: {wrong:#?}"
    );
}

#[test]
fn public_is_public_by_exact_method_and_path_only() {
    let router = Router::new();
    for (method, path, expected) in [
        ("GET", "/health", PUBLIC),
        ("HEAD", "/health", PUBLIC),
        ("GET", "/ui", PUBLIC),
        ("GET", "/ui/", PUBLIC),
        ("HEAD", "/ui/assets/app.js", PUBLIC),
        ("GET", "/files/download-token/YWJj.1700000000.00ff", PUBLIC),
        ("GET", "/auth/openapi.json", PUBLIC),
        ("GET", "/console/app.js", PUBLIC),
        ("POST", "/health", ADMIN),
        ("DELETE", "/health", ADMIN),
        ("OPTIONS", "/health", NOT_THIS_METHOD),
        ("PROPFIND", "/health", NOT_THIS_METHOD),
        ("POST", "/ui/", ADMIN),
        ("POST", "/files/download-token/x", ADMIN),
        ("GET", "/files/download-token", ADMIN),
        ("GET", "/files/download-token/", ADMIN),
        ("GET", "/files/download-token/x/y", ADMIN),
        ("POST", "/auth/openapi.json", NOT_THIS_METHOD),
        ("DELETE", "/console/app.js", NOT_THIS_METHOD),
        ("GET", "/health/", ADMIN),
        ("GET", "/healthx", ADMIN),
        ("GET", "/Health", ADMIN),
        ("GET", "/HEALTH", ADMIN),
        ("GET", "/UI/", ADMIN),
        ("GET", "/uix", ADMIN),
        ("GET", "/cubeapi/v1/health", ADMIN),
        ("GET", "/cubeapi/v1/ui", ADMIN),
        ("GET", "//health", BAD),
        ("GET", "/health//", BAD),
        ("GET", "/./health", BAD),
        ("GET", "/health/.", BAD),
        ("GET", "/health/../sandboxes", BAD),
        ("GET", "/ui/../sandboxes", BAD),
        ("GET", "/ui/..", BAD),
        ("GET", "/ui/%2e%2e/sandboxes", BAD),
        ("GET", "/ui/.%2e/sandboxes", BAD),
        ("GET", "/ui/%252e%252e/sandboxes", BAD),
        ("GET", "/ui/%c0%ae%c0%ae/sandboxes", BAD),
        ("GET", "/ui%2f..%2fsandboxes", BAD),
        ("GET", "/ui/..%2fsandboxes", BAD),
        ("GET", "/ui/x%2f..%2f..%2fsandboxes", BAD),
        ("GET", "/ui/..%5csandboxes", BAD),
        ("GET", "/ui/..\\sandboxes", BAD),
        ("GET", "/ui/x%2fy", BAD),
        ("GET", "/ui/..;/sandboxes", BAD),
        ("GET", "/health;x", BAD),
        ("GET", "/health%3bx", BAD),
        ("GET", "/health%3fx", BAD),
        ("GET", "/health%23", BAD),
        ("GET", "/health%00", BAD),
        ("GET", "/%68ealth", BAD),
        ("GET", "http://127.0.0.1/health", BAD),
        ("GET", "*", BAD),
        ("GET", "", BAD),
    ] {
        assert_eq!(control(&router, method, path, false), expected, "{method} {path}");
    }
}

#[test]
fn scopes_follow_the_route_and_not_the_method() {
    let router = Router::new();
    for (method, path, expected) in [
        // Reads that show what only an administrator may see.
        ("GET", "/events/webhooks", ADMIN),
        ("HEAD", "/events/webhooks/w1", ADMIN),
        ("GET", "/events/webhooks/deliveries", ADMIN),
        ("GET", "/secrets", ADMIN),
        ("GET", "/secrets/", ADMIN),
        ("GET", "/schedules", ADMIN),
        ("GET", "/teams", ADMIN),
        ("GET", "/metrics", ADMIN),
        ("GET", "/volumes/v1", ADMIN),
        ("GET", "/templates/t1/files/h1", ADMIN),
        ("GET", "/nodes", ADMIN),
        ("GET", "/cubeapi/v1/nodes/n1", ADMIN),
        ("GET", "/cluster/overview", ADMIN),
        ("GET", "/cubeapi/v1/cluster/overview", ADMIN),
        ("PUT", "/sandboxes/abc/network", ADMIN),
        ("GET", "/vscode-proxy/abc/", EXEC),
        ("HEAD", "/vscode-proxy/abc/x", EXEC),
        ("GET", "/sandboxes/abc/terminal/ws", EXEC),
        ("GET", "/cubeapi/v1/sandboxes/abc/terminal/ws", EXEC),
        ("GET", "/api-keys", NOBODY),
        ("POST", "/api-keys", NOBODY),
        ("DELETE", "/access-tokens/t1", NOBODY),
        ("POST", "/access-tokens", NOBODY),
        // The same under Cube's prefix, and only what is served there.
        ("GET", "/cubeapi/v1/sandboxes", READ),
        ("GET", "/cubeapi/v1/v2/sandboxes", READ),
        ("POST", "/cubeapi/v1/v2/sandboxes", ADMIN),
        ("POST", "/cubeapi/v1/sandboxes", EXEC),
        ("DELETE", "/cubeapi/v1/templates/t1", ADMIN),
        ("POST", "/cubeapi/v1/sandboxes/abc/fork", ADMIN),
        ("GET", "/cubeapi/v1", ADMIN),
        ("GET", "/cubeapi/v2/sandboxes", ADMIN),
        // Strangers.
        ("GET", "/", ADMIN),
        ("GET", "/nothing", ADMIN),
        ("PATCH", "/sandboxes", ADMIN),
        ("PUT", "/sandboxes/abc", ADMIN),
        ("DELETE", "/sandboxes", ADMIN),
        ("GET", "/sandboxes/abc/exec", ADMIN),
        ("PROPFIND", "/sandboxes", NOT_THIS_METHOD),
        ("QUERY", "/nothing", NOT_THIS_METHOD),
        ("get", "/sandboxes", NOT_THIS_METHOD),
        ("HEAD", "/sandboxes", READ),
        // Other spellings of a route are other routes, or none.
        ("GET", "/sandboxes/", ADMIN),
        ("GET", "/Sandboxes", ADMIN),
        ("GET", "/sandboxes/abc/", ADMIN),
        ("GET", "/templates/", ADMIN),
        ("GET", "//sandboxes", BAD),
        ("GET", "/sandboxes//abc", BAD),
        ("GET", "/sandboxes/%2e%2e/templates", BAD),
        ("GET", "/template%73", BAD),
        ("GET", "/sandboxes/abc%2Flogs", BAD),
        ("GET", "/sandboxes/abc%2F..", BAD),
        ("GET", "/sandboxes/..%2f..%2fhealth", BAD),
        ("GET", "/templates/team%2Fname%3Atag", READ),
        ("DELETE", "/templates/team%2Fname", ADMIN),
        ("GET", "/templates/team%2F..%2Fother", BAD),
        ("GET", "/templates/..%2Fsecrets", BAD),
        ("GET", "/templates/%2Fsecrets", BAD),
        // The gateway's own.
        ("GET", "/auth/whoami", ANY_KEY),
        ("GET", "/auth/usage", READ),
        ("GET", "/audit/events", OWNER),
        ("GET", "/auth/tenants", ADMIN),
        ("PATCH", "/auth/whoami", NOT_THIS_METHOD),
        ("GET", "/auth/nothing", NOBODY),
        ("GET", "/auth/whoami/", NOBODY),
        ("GET", "/audit", NOBODY),
        ("POST", "/v2/token", ADMIN),
        ("GET", "/v2/", ADMIN),
    ] {
        assert_eq!(control(&router, method, path, false), expected, "{method} {path}");
    }
}

#[test]
fn an_upgrade_is_no_read() {
    let router = Router::new();
    for (method, path, expected) in [
        ("GET", "/health", EXEC),
        ("GET", "/ui/", EXEC),
        ("GET", "/sandboxes/abc", EXEC),
        ("GET", "/sandboxes/abc/logs", EXEC),
        ("GET", "/sandboxes/abc/terminal/ws", EXEC),
        ("GET", "/vscode-proxy/abc/x", EXEC),
        ("POST", "/sandboxes", EXEC),
        ("GET", "/audit/stream", OWNER),
        ("GET", "/nothing", ADMIN),
        ("GET", "/api-keys", NOBODY),
    ] {
        assert_eq!(control(&router, method, path, true), expected, "{method} {path}");
    }
}

#[test]
fn nothing_in_a_sandbox_is_public() {
    let router = Router::new();
    for (port, method, path, expected) in [
        (49983, "GET", "/health", READ),
        (49983, "POST", "/filesystem.Filesystem/Stat", READ),
        // A Connect GET is not what the row lists.
        (49983, "GET", "/filesystem.Filesystem/Stat", EXEC),
        (49983, "GET", "/process.Process/List", EXEC),
        (49983, "POST", "/process.Process/List", EXEC),
        (49983, "POST", "/process.process/list", EXEC),
        (49983, "GET", "/files", EXEC),
        (49983, "DELETE", "/files", EXEC),
        (49983, "GET", "/unknown", EXEC),
        (49983, "GET", "/", EXEC),
        (49983, "POST", "/init", NOBODY),
        (49983, "HEAD", "/init", NOBODY),
        (49983, "POST", "/upgrade", NOBODY),
        (49983, "POST", "/fsthaw", NOBODY),
        (49983, "POST", "/%69nit", BAD),
        (49983, "POST", "//init", BAD),
        (49983, "POST", "/./init", BAD),
        (49983, "POST", "/files/../init", BAD),
        (49983, "POST", "/files/..%2finit", BAD),
        (49983, "POST", "/init;x", BAD),
        (49983, "PROPFIND", "/files", NOT_THIS_METHOD),
        (49999, "GET", "/contexts", READ),
        (49999, "POST", "/execute", EXEC),
        (49999, "GET", "/nothing", EXEC),
        (8080, "GET", "/", EXEC),
        (8080, "GET", "/a/../b//c;d%2e", EXEC),
        (8080, "TRACE", "/", NOT_THIS_METHOD),
    ] {
        assert_eq!(data(&router, port, method, path), expected, "{port} {method} {path}");
    }
}

#[test]
fn no_port_in_a_host_is_taken_for_another() {
    let domain = coppice_gateway::route::Domain::parse("box.dev").unwrap();
    for label in ["0", "65536", "+80", "0080", "", "49983"] {
        let host = format!("{label}-.box.dev");
        let kind = Authority::parse(&host).and_then(|host| host.classify(Some(&domain)));
        assert!(kind.is_err(), "{host}: {kind:?}");
    }
    let host = Authority::parse("80-abc.box.dev").unwrap().classify(Some(&domain)).unwrap();
    assert!(matches!(host, HostKind::Sandbox(target) if target.port == 80));
}
