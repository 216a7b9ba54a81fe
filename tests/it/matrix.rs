//! Every row of the route table with every method and every kind of caller, against the running gateway.
//!
//! What is expected follows from the rows alone, by a few lines of this file and not by the gateway's own matcher.

use coppice_gateway::route::table;
use coppice_gateway::route::{Class, Methods, Notes, Route, Surface};

use crate::support::{Answer, Ask, Wire, World, exchange};

pub(crate) const METHODS: [(&str, Methods); 6] = [
    ("GET", Methods::GET),
    ("HEAD", Methods::GET),
    ("POST", Methods::POST),
    ("PUT", Methods::PUT),
    ("PATCH", Methods::PATCH),
    ("DELETE", Methods::DELETE),
];

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Nobody,
    Unknown,
    /// A key of the sandbox's tenant, by its scope.
    Key(&'static str),
    /// An exec key of another tenant.
    Stranger,
}

const EVERYBODY: [Who; 7] = [
    Who::Nobody,
    Who::Unknown,
    Who::Key("read"),
    Who::Key("exec"),
    Who::Key("owner"),
    Who::Key("admin"),
    Who::Stranger,
];

impl Who {
    fn signs(self, ask: Ask) -> Ask {
        match self {
            Self::Nobody => ask,
            Self::Unknown => ask.key("e2b_0123456789012345678901234567890123456789"),
            Self::Key(role) => ask.key(&crate::support::world::key(role)),
            Self::Stranger => ask.key(&crate::support::world::key("other")),
        }
    }

    /// 1 to 4 for read to admin.
    fn rank(self) -> usize {
        match self {
            Self::Nobody | Self::Unknown => 0,
            Self::Key("read") => 1,
            Self::Key("exec") | Self::Stranger => 2,
            Self::Key("owner") => 3,
            Self::Key(_) => 4,
        }
    }
}

/// What must come of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Unauthenticated,
    Lacks(&'static str),
    /// 404: the route is there for nobody, or the sandbox is not the caller's.
    Hidden,
    NotAllowed,
    /// The upstream gets it.
    Passes,
    /// The gateway answers it.
    Own,
}

/// The class of a method on the path of a row: that of the row of this path that lists it, else the surface's own.
pub(crate) fn class(row: &Route, prefix: &str, method: Methods) -> Option<Class> {
    let listed = table::rows().find(|other| {
        other.surface == row.surface
            && other.pattern == row.pattern
            && (prefix.is_empty() || other.notes.has(Notes::CUBE))
            && other.methods.contains(method)
    });
    listed.map(|row| row.class)
}

fn expected(row: &Route, prefix: &str, method: Methods, who: Who) -> Expected {
    let on_data_plane = row.surface.is_data_plane();
    let known = who.rank() > 0;
    let (class, listed) = match class(row, prefix, method) {
        Some(class) => (class, true),
        None if row.surface == Surface::Gateway && known => return Expected::NotAllowed,
        None if on_data_plane => (Class::Exec, false),
        None => (Class::Admin, false),
    };
    let own = row.surface == Surface::Gateway;
    let passes = if own { Expected::Own } else { Expected::Passes };
    if class == Class::Public {
        return passes;
    }
    let (needed, name) = match class {
        _ if !known => return Expected::Unauthenticated,
        Class::Hidden => return Expected::Hidden,
        Class::Any | Class::Public => (1, "any"),
        Class::Read => (1, "read"),
        Class::Exec => (2, "exec"),
        Class::Owner => (3, "owner"),
        Class::Admin => (4, "admin"),
    };
    let is_of_a_sandbox = on_data_plane || (listed && row.notes.has(Notes::OWN));
    if who.rank() < needed {
        Expected::Lacks(name)
    } else if is_of_a_sandbox && who == Who::Stranger {
        Expected::Hidden
    } else {
        passes
    }
}

/// The row's path with every placeholder filled: with a real sandbox where ownership counts.
fn fill(row: &Route, sandbox: &str) -> String {
    let mut path = String::new();
    for segment in row.pattern.split('/').skip(1) {
        path.push('/');
        path.push_str(match segment {
            "{id}" if row.notes.has(Notes::OWN) => sandbox,
            "*" => "some/thing",
            placeholder if placeholder.starts_with('{') => "thing",
            fixed => fixed,
        });
    }
    path
}

fn check(world: &World, answer: &Answer, expected: Expected, what: &str) {
    let mut upstream = world.simulator.requests();
    // Whose a sandbox is, and how many there are, the gateway may ask on its own behalf: reads that wake nothing.
    upstream.retain(|request| {
        let asked_by_the_gateway = request.method == "GET"
            && (request.path.starts_with("/sandboxes/i")
                || request.path.starts_with("/v2/sandboxes"))
            && request.header("x-request-id").is_none();
        !asked_by_the_gateway
    });
    let message = || answer.json()["message"].as_str().unwrap_or_default().to_owned();
    let has_body = !what.starts_with("HEAD");
    match expected {
        Expected::Passes => {
            assert_eq!(upstream.len(), 1, "{what}: {} {}", answer.status, answer.text());
            return;
        }
        Expected::Own => assert!(!matches!(answer.status, 401 | 403 | 405), "{what}"),
        Expected::Unauthenticated => {
            assert_eq!(answer.status, 401, "{what}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}");
        }
        Expected::Lacks(scope) => {
            assert_eq!(answer.status, 403, "{what}: {}", answer.text());
            if has_body {
                let text = format!("API key lacks required scope: {scope}");
                assert_eq!(message(), text, "{what}");
            }
        }
        Expected::Hidden => assert_eq!(answer.status, 404, "{what}: {}", answer.text()),
        Expected::NotAllowed => assert_eq!(answer.status, 405, "{what}: {}", answer.text()),
    }
    assert!(upstream.is_empty(), "{what}: refused, and yet upstream got {upstream:#?}");
}

/// A request as its method and path want it; what the upstream makes of it plays no part here.
fn ask(method: &str, path: &str) -> Ask {
    let ask = Ask::new(method, path);
    match method {
        "POST" | "PUT" | "PATCH" => ask.header("Content-Type", "application/json").body("{}"),
        _ => ask,
    }
}

#[test]
fn every_control_plane_row_with_every_method_and_caller() {
    let world = World::new();
    let mut wire = Wire::open(world.control());
    let (mut sandbox, _) = world.create("exec");
    let mut count = 0;
    for row in table::rows() {
        if !matches!(row.surface, Surface::Api | Surface::Gateway | Surface::Registry) {
            continue;
        }
        let prefixes: &[&str] =
            if row.notes.has(Notes::CUBE) { &["", Route::CUBE_PREFIX] } else { &[""] };
        for prefix in prefixes {
            for (method, looked_up) in METHODS {
                for who in EVERYBODY {
                    world.simulator.clear_requests();
                    let path = format!("{prefix}{}", fill(row, &sandbox));
                    let what = format!("{method} {path} by {who:?}");
                    let ask = who.signs(ask(method, &path));
                    let answer = if (method, &*path) == ("GET", "/audit/stream") && who.rank() > 2 {
                        // It has no end, so its head must do.
                        Wire::open(world.control()).start(&ask)
                    } else {
                        wire.ask(&ask)
                    };
                    check(&world, &answer, expected(row, prefix, looked_up, who), &what);
                    count += 1;
                    if method == "DELETE" && answer.status == 204 {
                        (sandbox, _) = world.create("exec");
                    }
                }
            }
        }
    }
    assert!(count > 5_000, "only {count} requests");
}

#[test]
fn every_data_plane_row_with_every_method_and_caller() {
    let world = World::new();
    let mut wire = Wire::open(world.data());
    let (sandbox, _) = world.create("exec");
    for row in table::rows() {
        let port = match row.surface {
            Surface::Envd => 49_983,
            Surface::Interpreter => 49_999,
            Surface::Port => 8080,
            Surface::Api | Surface::Gateway | Surface::Registry => continue,
        };
        let path = fill(row, &sandbox);
        for (method, looked_up) in METHODS {
            for who in EVERYBODY {
                world.simulator.clear_requests();
                let what = format!("{method} {path} on {port} by {who:?}");
                let ask = who
                    .signs(ask(method, &path))
                    .header("E2b-Sandbox-Id", &sandbox)
                    .header("E2b-Sandbox-Port", port.to_string());
                let answer = wire.ask(&ask);
                check(&world, &answer, expected(row, "", looked_up, who), &what);
            }
        }
    }
}

#[test]
fn methods_that_are_none_of_ours_are_405_but_only_for_those_who_hold_a_key() {
    let world = World::new();
    let (sandbox, _) = world.create("exec");
    world.simulator.clear_requests();
    for method in ["PROPFIND", "get", "LINK", "QUERY", "REFUSED-"] {
        for path in ["/sandboxes", "/health", "/auth/whoami", "/nowhere", "/api-keys"] {
            for (who, status) in [
                (Who::Nobody, 401),
                (Who::Unknown, 401),
                (Who::Key("read"), 405),
                (Who::Key("admin"), 405),
            ] {
                let answer = who.signs(Ask::new(method, path)).send(world.control());
                assert_eq!(answer.status, status, "{method} {path} by {who:?}");
            }
        }
        for port in [49_983, 49_999, 8080] {
            for (who, status) in [(Who::Nobody, 401), (Who::Unknown, 401), (Who::Key("exec"), 405)]
            {
                let answer =
                    world.ask_sandbox(&sandbox, port, who.signs(Ask::new(method, "/health")));
                assert_eq!(answer.status, status, "{method} on {port} by {who:?}");
            }
        }
    }
    // These two could turn a connection into something else, so nobody gets as far as a key.
    for bytes in ["TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"]
    {
        let answer = exchange(world.control(), bytes.as_bytes());
        assert_eq!(Answer::parse(&answer).status, 405, "{bytes}");
    }
    assert!(world.simulator.requests().is_empty());
}
