//! Where requests go, one row a case.

use super::*;
use crate::route::{Authority, CanonicalPath, Domain, Router};
use crate::target::{ENVD_PORT, INTERPRETER_PORT};

const API: Listener = Listener::Control { one_port: true };
const API_ALONE: Listener = Listener::Control { one_port: false };
const ENVD: Listener = Listener::Data(PortLabel::Port(ENVD_PORT));
const EVERY: Listener = Listener::Data(PortLabel::Every);

/// `token` is the id that a genuine token names, `?` for a token that is none, empty for no token.
#[track_caller]
fn resolve(
    (listener, host, id, port, token, path): (Listener, &str, &str, &str, &str, &str),
) -> Result<String, BadTarget> {
    let domain = Domain::parse("box.dev").unwrap();
    let host = Authority::parse(host).unwrap().classify(Some(&domain)).unwrap();
    let mut headers = HeaderMap::new();
    for (name, values) in [(SANDBOX_ID, id), (SANDBOX_PORT, port)] {
        for value in values.split('|').filter(|_| !values.is_empty()) {
            headers.append(&name, value.parse().unwrap());
        }
    }
    let named = SandboxId::parse(token).ok();
    let token = match (token, &named) {
        ("", _) => SandboxToken::Absent,
        (_, None) => SandboxToken::Unreadable,
        (_, Some(id)) => SandboxToken::Names(id),
    };
    let router = Router::new();
    let path = CanonicalPath::parse(path).unwrap();
    let aim = Aim { listener, host: &host, headers: &headers, token };
    aim.resolve(|| router.listed_port(&path)).map(|plane| match plane {
        Plane::Control => "control".to_owned(),
        Plane::Data(target) => format!("{}:{}", target.sandbox, target.port),
    })
}

#[test]
fn finds_the_plane_and_the_target() {
    let id = "abc";
    for (case, expected) in [
        // Control plane, whatever the headers say: Python 2.9 sends them on connect.
        ((API, "api.box.dev", id, "49983", "", "/sandboxes/abc/connect"), "control"),
        ((API, "localhost:3000", id, "49983", "", "/sandboxes/abc/connect"), "control"),
        ((API, "127.0.0.1:3000", id, "49983", "", "/sandboxes/abc/connect"), "control"),
        ((API, "127.0.0.1:3000", id, "49983", "", "/v2/sandboxes/abc/connect"), "control"),
        ((API, "api.box.dev", id, "49983", id, "/files"), "control"),
        ((API, "gateway.lan", id, "49983", id, "/files"), "control"),
        ((API, "api.box.dev", "a|b", "x", "", "/sandboxes"), "control"),
        ((API, "localhost", "../x", "0", "", "/sandboxes"), "control"),
        ((API, "box.dev", "", "", "", "/health"), "control"),
        // One port for everything: both headers or a token, and a path of envd or the interpreter.
        ((API, "localhost:3000", id, "49983", "", "/files"), "abc:49983"),
        ((API, "[::1]:3000", id, "49983", "", "/process.Process/Start"), "abc:49983"),
        ((API, "10.1.2.3", id, "49999", "", "/execute"), "abc:49999"),
        ((API, "127.0.0.1", id, "49999", "", "/contexts/c1/restart"), "abc:49999"),
        ((API, "127.0.0.1", id, "49983", "", "/health"), "abc:49983"),
        ((API, "127.0.0.1", id, "49983", "", "/init"), "abc:49983"),
        ((API, "127.0.0.1", id, "8080", "", "/files"), "abc:8080"),
        ((API, "127.0.0.1", id, "8080", "", "/index.html"), "control"),
        ((API, "127.0.0.1", "", "", "", "/health"), "control"),
        ((API, "127.0.0.1", id, "", "", "/files"), "control"),
        ((API, "127.0.0.1", "", "49983", "", "/files"), "control"),
        ((API, "127.0.0.1", "", "", id, "/files"), "abc:49983"),
        ((API, "127.0.0.1", "", "", id, "/health"), "abc:49983"),
        ((API, "127.0.0.1", "", "", id, "/execute"), "abc:49999"),
        ((API, "127.0.0.1", "", "49999", id, "/health"), "abc:49999"),
        ((API, "127.0.0.1", "", "", id, "/sandboxes"), "control"),
        ((API_ALONE, "127.0.0.1", id, "49983", id, "/files"), "control"),
        // Hosts of the data plane work on the control listener too.
        ((API, "49983-abc.box.dev", "", "", "", "/files"), "abc:49983"),
        ((API_ALONE, "8080-abc.box.dev:3000", "", "", "", "/sandboxes"), "abc:8080"),
        ((API, "49983-abc.box.dev", id, "49983", id, "/files"), "abc:49983"),
        ((API, "sandbox.box.dev", id, "49983", "", "/files"), "abc:49983"),
        ((API, "sandbox.box.dev", "", "49983", id, "/any/path"), "abc:49983"),
        // The client id behind an id makes no other sandbox; the host's spelling wins.
        ((API, "49983-abc-c1.box.dev", id, "49983", "", "/files"), "abc-c1:49983"),
        ((API, "49983-abc.box.dev", "abc-c1", "49983", "", "/files"), "abc:49983"),
        // A token for another sandbox is no source here.
        ((API, "49983-abc.box.dev", "", "", "other", "/files"), "abc:49983"),
        ((ENVD, "127.0.0.1:49983", id, "49983", "other", "/files"), "abc:49983"),
        ((API, "49983-abc.box.dev", "", "", "?", "/files"), "abc:49983"),
        // Data-plane listeners: the label is a port, headers count on addresses and the shared host.
        ((ENVD, "127.0.0.1:49983", id, "49983", "", "/sandboxes"), "abc:49983"),
        ((ENVD, "localhost:49983", id, "", "", "/files"), "abc:49983"),
        ((ENVD, "127.0.0.1:49983", "", "", id, "/files"), "abc:49983"),
        ((ENVD, "sandbox.box.dev", id, "", "", "/files"), "abc:49983"),
        ((ENVD, "49983-abc.box.dev", "", "", "", "/files"), "abc:49983"),
        ((ENVD, "gateway.lan:49983", "", "", id, "/files"), "abc:49983"),
        ((ENVD, "gateway.lan:49983", id, "49983", id, "/files"), "abc:49983"),
        ((EVERY, "127.0.0.1", id, "8080", "", "/x"), "abc:8080"),
        ((EVERY, "8080-abc.box.dev", "", "", "", "/x"), "abc:8080"),
    ] {
        assert_eq!(resolve(case), Ok(expected.to_owned()), "{case:?}");
    }
}

#[test]
fn refuses_what_names_no_target_or_two() {
    use BadTarget::*;
    let id = "abc";
    for (case, why) in [
        ((ENVD, "8080-abc.box.dev", "", "", "", "/x"), Disagreement),
        ((ENVD, "127.0.0.1", id, "8080", "", "/x"), Disagreement),
        ((API, "49983-abc.box.dev", "other", "49983", "", "/x"), Disagreement),
        ((API, "49983-abc.box.dev", id, "8080", "", "/x"), Disagreement),
        ((API, "49983-abc.box.dev", "abcd", "49983", "", "/x"), Disagreement),
        ((ENVD, "gateway.lan", "other", "49983", id, "/x"), Disagreement),
        ((ENVD, "gateway.lan", id, "8080", id, "/x"), Disagreement),
        ((ENVD, "127.0.0.1", "abc|abc", "", "", "/x"), Duplicate),
        ((EVERY, "127.0.0.1", id, "80|80", "", "/x"), Duplicate),
        ((API, "127.0.0.1", "abc|other", "49983", "", "/files"), Duplicate),
        ((API, "49983-abc.box.dev", "abc|other", "", "", "/x"), Duplicate),
        ((ENVD, "127.0.0.1", "a/b", "", "", "/x"), Id),
        ((ENVD, "127.0.0.1", "-a", "", "", "/x"), Id),
        ((ENVD, "127.0.0.1", "a,b", "", "", "/x"), Id),
        ((API, "49983-abc.box.dev", "a b", "", "", "/x"), Id),
        ((EVERY, "127.0.0.1", id, "0", "", "/x"), Port),
        ((EVERY, "127.0.0.1", id, "65536", "", "/x"), Port),
        ((EVERY, "127.0.0.1", id, "+80", "", "/x"), Port),
        ((EVERY, "127.0.0.1", id, "080", "", "/x"), Port),
        ((ENVD, "127.0.0.1", id, "x", "", "/x"), Port),
        ((ENVD, "127.0.0.1", "", "", "", "/x"), NoSandbox),
        ((ENVD, "gateway.lan", id, "49983", "", "/x"), NoSandbox),
        ((ENVD, "api.box.dev", id, "49983", "", "/x"), NoSandbox),
        ((API, "sandbox.box.dev", "", "49983", "", "/x"), NoSandbox),
        ((EVERY, "127.0.0.1", id, "", "", "/files"), NoPort),
        ((API, "sandbox.box.dev", id, "", "", "/files"), NoPort),
        ((EVERY, "gateway.lan", "", "80", id, "/x"), NoPort),
        ((ENVD, "127.0.0.1", "", "", "?", "/x"), UnreadableToken),
        ((API, "127.0.0.1", "", "", "?", "/files"), UnreadableToken),
    ] {
        assert_eq!(resolve(case), Err(why), "{case:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_no_id() {
    let mut headers = HeaderMap::new();
    headers.insert(SANDBOX_ID, http::HeaderValue::from_bytes(b"ab\xff").unwrap());
    let token = SandboxToken::Absent;
    let aim = Aim { listener: ENVD, host: &HostKind::Local, headers: &headers, token };
    assert_eq!(aim.resolve(|| None), Err(BadTarget::Id));
}

#[test]
fn asks_for_the_path_only_where_it_decides() {
    let headers = HeaderMap::new();
    let token = SandboxToken::Absent;
    for host in [HostKind::Local, HostKind::Other] {
        let aim = Aim { listener: API, host: &host, headers: &headers, token };
        let plane = aim.resolve(|| panic!("an ordinary control-plane request was looked up twice"));
        assert_eq!(plane, Ok(Plane::Control));
    }
}

#[test]
fn port_labels() {
    assert_eq!("*".parse(), Ok(PortLabel::Every));
    assert_eq!("49999".parse(), Ok(PortLabel::Port(INTERPRETER_PORT)));
    for text in ["", "0", "envd", "+1", "**"] {
        assert_eq!(text.parse::<PortLabel>(), Err(BadPortLabel), "{text:?}");
    }
}
