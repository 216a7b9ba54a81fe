//! Lookups: precedence, defaults, wildcards, and the table's own consistency.

use super::*;
use crate::route::Effect;

fn find(method: &str, path: &str) -> String {
    show(Router::new().find_control(&method.parse().unwrap(), &CanonicalPath::parse(path).unwrap()))
}

fn show(found: Result<Match<'_>, BadPath>) -> String {
    match found {
        Err(why) => format!("{why:?}"),
        Ok(found) => {
            let rule = match found.rule {
                Rule::Row(row) => row.pattern,
                Rule::OtherMethod => "other method",
                Rule::Unlisted => "unlisted",
            };
            format!("{} {} {rule}", found.surface.name(), found.class.name())
        }
    }
}

#[test]
fn finds_rows() {
    for (method, path, expected) in [
        ("GET", "/health", "api public /health"),
        ("HEAD", "/health", "api public /health"),
        ("HEAD", "/sandboxes", "api read /sandboxes"),
        ("GET", "/sandboxes/metrics", "api read /sandboxes/metrics"),
        ("GET", "/sandboxes/abc", "api read /sandboxes/{id}"),
        ("GET", "/sandboxes/%20", "api read /sandboxes/{id}"),
        ("GET", "/ui/", "api public /ui/*"),
        ("GET", "/ui/a/b/", "api public /ui/*"),
        ("PATCH", "/secrets/", "api admin /secrets/*"),
        ("GET", "/cubeapi/v1/sandboxes/abc", "api read /sandboxes/{id}"),
        ("GET", "/cubeapi/v1/nodes/n1", "api admin /nodes/*"),
        ("OPTIONS", "/vscode-proxy/abc/x", "api exec /vscode-proxy/{id}/*"),
        ("GET", "/vscode-proxy/abc/", "api exec /vscode-proxy/{id}/*"),
        ("GET", "/v2/", "registry admin /v2/*"),
        ("GET", "/v2/token", "registry admin /v2/token"),
        ("GET", "/v2/token/x", "registry admin /v2/*"),
        ("PUT", "/v2/e2b/x/manifests/sha256:0a", "registry admin /v2/*"),
        ("GET", "/v2/sandboxes", "api read /v2/sandboxes"),
        ("GET", "/auth/keys/k1", "gateway owner /auth/keys/{id}"),
        ("HEAD", "/auth/whoami", "gateway any /auth/whoami"),
        ("GET", "/console/", "gateway public /console/*"),
    ] {
        assert_eq!(find(method, path), expected, "{method} {path}");
    }
}

#[test]
fn what_is_not_listed_gets_the_default() {
    for (method, path, expected) in [
        ("GET", "/", "api admin unlisted"),
        ("GET", "/health/", "api admin unlisted"),
        ("GET", "/Health", "api admin unlisted"),
        ("GET", "/sandboxes/", "api admin unlisted"),
        ("GET", "/sandboxes/abc/", "api admin unlisted"),
        ("GET", "/sandboxes/abc/logs/x", "api admin unlisted"),
        ("GET", "/cubeapi/v1/health", "api admin unlisted"),
        ("GET", "/cubeapi/v1/cubeapi/v1/sandboxes", "api admin unlisted"),
        ("GET", "/vscode-proxy/abc", "api admin unlisted"),
        ("GET", "/v2", "api admin unlisted"),
        ("PUT", "/v2/sandboxes", "api admin other method"),
        ("GET", "/v2/sandboxes/abc", "registry admin /v2/*"),
        ("GET", "/authx", "api admin unlisted"),
        ("GET", "/auth", "gateway hidden unlisted"),
        ("GET", "/auth/", "gateway hidden unlisted"),
        ("GET", "/auth/keys/k1/x", "gateway hidden unlisted"),
        ("GET", "/audit/x", "gateway hidden unlisted"),
        ("GET", "/console", "gateway hidden unlisted"),
        ("GET", "/cubeapi/v1/auth/whoami", "api admin unlisted"),
        // A word of the API is no template's name.
        ("GET", "/templates/tags", "api admin other method"),
        ("GET", "/templates/compat/tags", "api admin unlisted"),
    ] {
        assert_eq!(find(method, path), expected, "{method} {path}");
    }
}

#[test]
fn methods_that_are_405() {
    let router = Router::new();
    for (method, path, allow) in [
        ("POST", "/auth/whoami", Some("GET")),
        ("PUT", "/auth/keys/k1", Some("GET,PATCH,DELETE")),
        ("PROPFIND", "/auth/keys", Some("GET,POST")),
        ("POST", "/console/app.js", Some("GET")),
        ("POST", "/auth/nothing", None),
        ("PROPFIND", "/sandboxes", Some("ANY")),
        ("TRACE", "/nothing", Some("ANY")),
        ("PATCH", "/sandboxes", None),
        ("OPTIONS", "/health", Some("GET,HEAD,POST,PUT,PATCH,DELETE")),
        ("OPTIONS", "/nothing", Some("GET,HEAD,POST,PUT,PATCH,DELETE")),
        ("OPTIONS", "/auth/whoami", Some("GET")),
        ("OPTIONS", "/vscode-proxy/abc/x", None),
    ] {
        let path = CanonicalPath::parse(path).unwrap();
        let found = router.find_control(&method.parse().unwrap(), &path).unwrap();
        assert_eq!(
            found.method_not_allowed.map(|allow| allow.to_string()).as_deref(),
            allow,
            "{method} {path:?}"
        );
    }
    assert_eq!(Match::user_port(&Method::PATCH).method_not_allowed, None);
    assert_eq!(Match::user_port(&Method::TRACE).method_not_allowed, Some(Methods::ANY));
}

#[test]
fn encoded_slashes_stand_only_in_template_names() {
    for (method, path, expected) in [
        ("GET", "/templates/team%2Fname%3Atag", "api read /templates/{id}"),
        ("GET", "/cubeapi/v1/templates/team%2fname", "api read /templates/{id}"),
        ("PATCH", "/v2/templates/a%2Fb", "api admin /v2/templates/{id}"),
        ("GET", "/templates/aliases/a%2Fb", "api read /templates/aliases/{alias}"),
        (
            "GET",
            "/templates/a%2Fb/builds/b1/status",
            "api read /templates/{id}/builds/{build}/status",
        ),
        ("PUT", "/templates/a%2Fb", "api admin other method"),
        ("GET", "/templates/a%2Fb/c", "EncodedSlash"),
        ("GET", "/sandboxes/a%2Fb", "EncodedSlash"),
        ("GET", "/sandboxes%2Fabc", "EncodedSlash"),
        ("GET", "/ui/a%2Fb", "EncodedSlash"),
        ("GET", "/v2/a%2Fb/manifests/x", "EncodedSlash"),
        ("GET", "/auth/keys/a%2Fb", "EncodedSlash"),
        ("GET", "/nothing/a%2Fb", "EncodedSlash"),
        ("GET", "/templates%2Fabc", "EncodedSlash"),
    ] {
        assert_eq!(find(method, path), expected, "{method} {path}");
    }
}

#[test]
fn names_the_sandbox_of_a_path() {
    let router = Router::new();
    for (method, path, sandbox) in [
        ("GET", "/sandboxes/abc", Some("abc")),
        ("PATCH", "/sandboxes/abc", Some("abc")),
        ("POST", "/cubeapi/v1/sandboxes/abc-c1/pause", Some("abc-c1")),
        ("GET", "/v2/sandboxes/abc/logs", Some("abc")),
        ("GET", "/vscode-proxy/abc/static/x", Some("abc")),
        ("GET", "/events/sandboxes/abc", Some("abc")),
        ("GET", "/sandboxes", None),
        ("GET", "/sandboxes/metrics", None),
        ("GET", "/templates/abc", None),
        ("GET", "/auth/keys/abc", None),
    ] {
        let path = CanonicalPath::parse(path).unwrap();
        let found = router.find_control(&method.parse().unwrap(), &path).unwrap();
        assert_eq!(found.sandbox, sandbox, "{method} {path:?}");
    }
}

#[test]
fn data_plane() {
    let router = Router::new();
    for (port, method, path, expected) in [
        (49983, "GET", "/health", "envd read /health"),
        (49983, "HEAD", "/files", "envd exec /files"),
        (49983, "PUT", "/files", "envd exec other method"),
        (49983, "POST", "/process.Process/Start", "envd exec /process.Process/Start"),
        (49983, "GET", "/process.Process/Start", "envd exec other method"),
        (49983, "GET", "/filesystem.Filesystem/Stat", "envd exec other method"),
        (49983, "POST", "/filesystem.Filesystem/Stat", "envd read /filesystem.Filesystem/Stat"),
        (49983, "POST", "/filesystem.Filesystem/Stat/", "envd exec unlisted"),
        (49983, "POST", "/init", "envd hidden /init"),
        (49983, "POST", "/%69nit", "NeedlessEscape"),
        (49983, "POST", "/init/", "envd hidden /init"),
        (49983, "GET", "/freeze/", "envd hidden /freeze"),
        (49983, "POST", "//init", "EmptySegment"),
        (49983, "POST", "/x/../init", "DotSegment"),
        (49983, "POST", "/init%2F", "EmptySegment"),
        (49983, "POST", "/x%2Finit", "EncodedSlash"),
        (49999, "POST", "/execute", "interpreter exec /execute"),
        (49999, "GET", "/contexts", "interpreter read /contexts"),
        (49999, "POST", "/init", "interpreter exec unlisted"),
        (8080, "GET", "/a//b/../%2e;x", "port exec /*"),
        (8080, "POST", "/init", "port exec /*"),
    ] {
        let found = router.find_data(port, &method.parse().unwrap(), path);
        assert_eq!(show(found), expected, "{port} {method} {path}");
    }
}

#[test]
fn the_table_is_consistent() {
    let rows: Vec<_> = table::rows().collect();
    for (n, row) in rows.iter().enumerate() {
        let pattern = row.pattern;
        assert!(pattern.starts_with('/') && !pattern.contains("//"), "{pattern}");
        assert!(!pattern.trim_end_matches("/*").contains('*'), "{pattern}: a '*' ends a pattern");
        let plain = |segment: &str| {
            segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
                || (segment.starts_with('{') && segment.ends_with('}'))
                || segment == "*"
        };
        assert!(pattern.split('/').all(plain), "{pattern}: escapes could spell a fixed segment");
        if row.methods.contains(Methods::HEAD) {
            assert!(row.methods.contains(Methods::GET), "{pattern}: HEAD without GET");
        }
        if row.notes.has(Notes::OWN) {
            assert!(pattern.contains("{id}"), "{pattern}: no sandbox to own");
        }
        if row.effect != Effect::None {
            assert_eq!(row.class, Class::Exec, "{pattern}");
        }
        let shape = |row: &Route| -> Vec<_> {
            let blank = |s: &'static str| if s.starts_with('{') { "{}" } else { s };
            row.pattern.split('/').map(blank).collect()
        };
        for other in rows.iter().skip(n + 1) {
            let clash = row.surface == other.surface
                && shape(row) == shape(other)
                && row.methods.overlaps(other.methods);
            assert!(!clash, "{pattern} is listed twice");
        }
    }
}
