//! Paths: one spelling, one reading. Everything else is refused before anybody is asked who they are.

use super::OK;
use crate::support::world::key;
use crate::support::{Ask, Upstream};

/// Spellings that some server would read as another path.
const CONFUSING: [&str; 62] = [
    "/health/../sandboxes",
    "/ui/../admin",
    "/ui/..",
    "/ui/.",
    "/./sandboxes",
    "/sandboxes/.",
    "/sandboxes/..",
    "/ui/%2e%2e/admin",
    "/ui/%2E%2E/admin",
    "/ui/.%2e/admin",
    "/ui/%2e./admin",
    "/ui/%2e/admin",
    "/%2e",
    "/ui/..;/admin",
    "/ui/..%3b/admin",
    "/ui;x=1",
    "/sandboxes;x",
    "/;/sandboxes",
    "/sandboxes%3Bx",
    "/ui/..%2fadmin",
    "/ui/..%2Fadmin",
    "/ui/%2e%2e%2fadmin",
    "/ui/%2e%2e%2Fadmin",
    "/ui%2f..%2fadmin",
    "/sandboxes%2Fi1",
    "/sandboxes%2fi1",
    "/sandboxes/i1%2fpause",
    "/%2fsandboxes",
    "/ui/%2f",
    "//sandboxes",
    "/sandboxes//",
    "/sandboxes//i1",
    "///",
    "//",
    "//evil.example/ui",
    "/ui//x",
    "/ui\\..\\admin",
    "/\\sandboxes",
    "/ui/%5c..%5cadmin",
    "/ui%5C",
    "/ui/..%5cadmin",
    "/sandboxes%00",
    "/ui/%00",
    "/sandboxes%0a",
    "/sandboxes%0d%0a",
    "/sandboxes%7f",
    "/sandboxes%1b",
    "/sandboxes%23",
    "/sandboxes%3f",
    "/sandboxes%3Fx=/health",
    "/sandboxes%25",
    "/ui/%252e%252e/admin",
    "/%2573andboxes",
    "/%73andboxes",
    "/sandb%6Fxes",
    "/heal%74h",
    "/templates/%7Ename",
    "/templates/a%2Db",
    "/sandboxes%",
    "/sandboxes%2",
    "/sandboxes%zz",
    "/templates/%c3",
];

#[test]
fn a_confusing_path_is_refused_before_authentication() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway();
    for path in CONFUSING {
        for ask in [
            Ask::get(path),
            Ask::get(path).key(&key("admin")),
            Ask::new("POST", path).key("unknown"),
        ] {
            let answer = ask.send(gateway.control());
            assert_eq!((answer.status, answer.code().as_str()), (400, "bad_path"), "{path}");
        }
    }
    // On envd and the interpreter too.
    for port in ["49983", "49999"] {
        for path in [
            "/files/../init",
            "/files/%2e%2e/init",
            "//init",
            "/%69nit",
            "/init%2f",
            "/files;/../init",
            "/contexts\\x",
        ] {
            let ask =
                Ask::get(path).header("E2b-Sandbox-Id", "i1").header("E2b-Sandbox-Port", port);
            let answer = ask.send(gateway.address("port=*"));
            assert_eq!((answer.status, answer.code().as_str()), (400, "bad_path"), "{port} {path}");
        }
    }
    assert!(upstream.bytes().is_empty());
}

#[test]
fn a_path_that_only_looks_like_a_public_one_is_not_public() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway();
    for path in [
        "/?/health",
        "/sandboxes?x=/health",
        "/admin?/health",
        "/healthz",
        "/health/",
        "/health/x",
        "/Health",
        "/uix",
        "/UI",
        "/ui2/x",
        "/files/download-token",
        "/files/download-token/a/b",
        "/cubeapi/v1/ui",
        "/auth/whoami?/health",
        "/sandboxesX",
        "/sandboxes/",
        "/v2",
        "/v3/sandboxes",
    ] {
        let answer = Ask::get(path).send(gateway.control());
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
    }
    // HEAD is as good as GET, every other method is not.
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"] {
        assert_eq!(Ask::new(method, "/health").send(gateway.control()).status, 401, "{method}");
    }
    assert!(upstream.bytes().is_empty());
    for ask in [
        Ask::get("/health"),
        Ask::new("HEAD", "/health"),
        Ask::get("/ui/"),
        Ask::get("/health?a=/../b"),
    ] {
        assert_eq!(ask.send(gateway.control()).status, 200, "{ask:?}");
    }
}

#[test]
fn accepted_paths_and_queries_go_upstream_as_they_were_sent() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway();
    for target in [
        "/templates/team%2Fname",
        "/templates/team%2fname",
        "/templates/team%2Fname%3Alatest",
        "/templates/name%3alatest",
        "/templates/name:latest",
        "/templates/%C3%A9t%c3%a9",
        "/templates/a+b",
        "/templates/a@b,c=d!e$f&g'h(i)*",
        "/templates/aliases/team%2Fname",
        "/templates/a%20b",
        "/templates/-._~",
        "/templates/...",
        "/templates/.hidden",
        "/pools/a..b",
        "/templates?",
        "/templates??",
        "/templates?a=b&a=b&&=",
        "/templates?%",
        "/templates?%zz&%00&%2e%2e",
        "/templates?x=/../y;z\\w",
        "/templates?[]{}|^'`",
        "/templates?a=//b&%E4",
        "/templates?redirect=http://a/?b",
    ] {
        let answer = Ask::get(target).key(&key("admin")).send(gateway.control());
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let request = upstream.requests().pop().unwrap();
        assert!(request.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{target}: {request}");
    }
}

#[test]
fn applications_on_user_ports_get_any_path_raw() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway_with(|setup| setup);
    for target in [
        "/a/../b",
        "//",
        "/%2e%2e/x",
        "/a;b=c",
        "/a\\b",
        "/%00",
        "/%zz",
        "/%69nit",
        "/init",
        "/freeze?x",
        "/a//b/",
        "/{a}|^\"",
        "/?",
        "/.git/config",
        "/health",
    ] {
        let ask =
            Ask::get(target).header("E2b-Sandbox-Id", "i1").header("E2b-Sandbox-Port", "8080");
        assert_eq!(ask.send(gateway.address("port=*")).status, 200, "{target}");
        let request = upstream.requests().pop().unwrap();
        assert!(request.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{target}: {request}");
    }
}
