//! Every control-plane route that the table knows, tried on another tenant's sandboxes.
//!
//! What is tried follows from the table alone, so a new row is tried as soon as it is there; one with a placeholder or a
//! rest has to be said here to name no sandbox, unless the table says that it does.

use coppice_gateway::route::table;
use coppice_gateway::route::{BodyEdit, Class, Methods, Notes, Route, Surface};
use coppice_gateway::simulator::{Metadata, Options};

use super::{
    SECRET, UNKNOWN, Victims, essence, essence_about, is_a_look, needed, rank, stranger,
    with_strangers, world,
};
use crate::matrix::METHODS;
use crate::support::{Ask, Wire, World};

/// Rows whose placeholder or rest is something else than a sandbox.
const NO_SANDBOX: [&str; 32] = [
    "/access-tokens/*",
    "/admin/*",
    "/api-keys/*",
    "/auth/callback/principals/{id}",
    "/auth/keys/{id}",
    "/auth/keys/{id}/rotate",
    "/auth/tenants/{id}",
    "/console/*",
    "/events/webhooks/*",
    "/files/download-token/{token}",
    "/nodes/*",
    "/pools/*",
    "/schedules/{id}",
    "/secrets/*",
    "/teams/{team}/metrics",
    "/teams/{team}/metrics/max",
    "/templates/aliases/{alias}",
    "/templates/compat/{id}/adopt-baseline",
    "/templates/{id}",
    "/templates/{id}/builds/{build}",
    "/templates/{id}/builds/{build}/logs",
    "/templates/{id}/builds/{build}/status",
    "/templates/{id}/files/{hash}",
    "/templates/{id}/tags",
    "/templates/{id}/tags/{tag}/assignments",
    "/templates/{id}/tags/{what}",
    "/ui/*",
    "/v2/*",
    "/v2/templates/{id}",
    "/v2/templates/{id}/builds/{build}",
    "/volumecontent/*",
    "/volumes/{id}",
];

fn on_control(row: &&Route) -> bool {
    matches!(row.surface, Surface::Api | Surface::Gateway | Surface::Registry)
}

fn has_a_gap(row: &Route) -> bool {
    row.pattern.contains(['{', '*'])
}

/// The row's path with every gap filled with `id`.
fn fill(row: &Route, id: &str) -> String {
    let filled = row
        .pattern
        .split('/')
        .skip(1)
        .map(|segment| if segment == "*" || segment.starts_with('{') { id } else { segment });
    filled.fold(String::new(), |path, segment| format!("{path}/{segment}"))
}

fn prefixes(row: &Route) -> &'static [&'static str] {
    if row.notes.has(Notes::CUBE) { &["", Route::CUBE_PREFIX] } else { &[""] }
}

fn ask(method: &str, path: &str) -> Ask {
    let ask = Ask::new(method, path);
    match method {
        "POST" | "PUT" | "PATCH" => ask
            .header("Content-Type", "application/json")
            .body(r#"{"timeout":60,"count":1,"metadata":{"coppice_tenant_id":"team-a"}}"#),
        _ => ask,
    }
}

#[test]
fn every_gap_of_the_table_is_a_sandbox_or_said_to_be_none() {
    let mut unsaid = NO_SANDBOX.to_vec();
    for row in table::rows().filter(on_control).filter(|row| has_a_gap(row)) {
        let said = NO_SANDBOX.contains(&row.pattern);
        assert_ne!(row.notes.has(Notes::OWN), said, "{}", row.pattern);
        unsaid.retain(|pattern| *pattern != row.pattern);
    }
    assert!(unsaid.is_empty(), "in no table: {unsaid:?}");
    // The rest is tried in every sandbox.
    assert!(table::rows().all(|row| row.surface.is_data_plane() != on_control(&row)));
    // And what is about sandboxes without naming one is filtered, marked, or an admin's.
    let about = |row: &Route| {
        let mut segments = row.pattern.split('/');
        segments.any(|segment| matches!(segment, "sandboxes" | "snapshots" | "events"))
    };
    for row in table::rows().filter(on_control).filter(|row| about(row)) {
        let kept_apart = row.notes.has(Notes::OWN)
            || row.listing.is_some()
            || row.body == BodyEdit::Create
            || row.class == Class::Admin
            || row.surface == Surface::Gateway;
        assert!(kept_apart, "{}", row.pattern);
    }
}

#[test]
fn no_route_tells_another_tenants_sandbox_from_none() {
    no_route_tells(&world());
}

#[test]
fn nor_where_only_the_gateway_knows_whose_a_sandbox_is() {
    let options = Options { metadata: Metadata::Dropped, tokens: false, ..Options::default() };
    no_route_tells(&World::with(options, with_strangers));
}

fn no_route_tells(world: &World) {
    let victims = Victims::of(world);
    let mut wire = Wire::open(world.control());
    let mut not_found = 0;
    for row in table::rows().filter(on_control).filter(|row| has_a_gap(row)) {
        let is_own = row.notes.has(Notes::OWN);
        for (prefix, (method, listed)) in
            prefixes(row).iter().flat_map(|prefix| METHODS.map(|method| (prefix, method)))
        {
            for role in ["read", "exec", "owner"] {
                for suffix in ["", "-client1"] {
                    let [running, paused, none] = victims.ids().map(|id| {
                        let path = format!("{prefix}{}", fill(row, &format!("{id}{suffix}")));
                        let answer = wire.ask(&ask(method, &path).key(&stranger(role)));
                        assert!(!answer.text().contains(SECRET), "{method} {path}");
                        essence_about(&answer, id)
                    });
                    let what = format!("{method} {prefix}{} of ID{suffix} by {role}", row.pattern);
                    assert_eq!(running, none, "{what}");
                    assert_eq!(paused, none, "{what}");
                    if is_own {
                        let (least, _) = needed(row, prefix, listed);
                        let is_known = is_listed(row, prefix, listed);
                        let expected = if rank(role) < least || !is_known { 403 } else { 404 };
                        assert_eq!(none.0, expected, "{what}: {}", none.2);
                        not_found += usize::from(expected == 404);
                    }
                }
            }
        }
        if is_own {
            let requests = world.simulator.requests();
            assert!(requests.iter().all(is_a_look), "{}: {requests:#?}", row.pattern);
        }
        world.simulator.clear_requests();
    }
    assert!(not_found > 150, "only {not_found}");
    victims.are_unharmed(world);
}

fn is_listed(row: &Route, prefix: &str, method: Methods) -> bool {
    crate::matrix::class(row, prefix, method).is_some()
}

#[test]
fn no_websocket_of_the_control_plane_opens_into_another_tenants_sandbox() {
    let world = world();
    let victims = Victims::of(&world);
    for row in table::rows().filter(on_control).filter(|row| row.notes.has(Notes::OWN)) {
        for prefix in prefixes(row) {
            for (role, expected) in [("read", 403), ("exec", 404), ("owner", 404)] {
                let [running, paused, none] = victims.ids().map(|id| {
                    let ask = Ask::get(&format!("{prefix}{}", fill(row, id))).upgrading();
                    essence(&ask.key(&stranger(role)).send(world.control()))
                });
                let expected = if is_listed(row, prefix, Methods::GET) { expected } else { 403 };
                assert_eq!(none.0, expected, "{} by {role}", row.pattern);
                assert_eq!(running, none, "{} by {role}", row.pattern);
                assert_eq!(paused, none, "{} by {role}", row.pattern);
            }
        }
    }
    victims.are_unharmed(&world);
}

#[test]
fn no_other_credential_of_ones_own_helps() {
    let world = world();
    let victims = Victims::of(&world);
    let (own, token) = world.create("other");
    world.simulator.clear_requests();
    for row in table::rows().filter(on_control).filter(|row| row.notes.has(Notes::OWN)) {
        for (method, _) in METHODS.iter().filter(|(_, listed)| row.methods.contains(*listed)) {
            type Sign<'a> = &'a dyn Fn(Ask) -> Ask;
            let tricks: [(&str, Sign<'_>, u16); 7] = [
                ("bearer", &|ask| ask.bearer(&stranger("exec")), 404),
                ("token", &|ask| ask.header("X-Access-Token", &token), 401),
                (
                    "key and token",
                    &|ask| ask.key(&stranger("exec")).header("X-Access-Token", &token),
                    404,
                ),
                (
                    "own in the headers",
                    &|ask| {
                        ask.key(&stranger("exec"))
                            .header("E2b-Sandbox-Id", &own)
                            .header("E2b-Sandbox-Port", "49983")
                    },
                    404,
                ),
                (
                    "forged",
                    &|ask| {
                        ask.key(&stranger("exec"))
                            .header("X-Coppice-Tenant", "team-a")
                            .header("X-Coppice-Scopes", "admin")
                            .header("X-Auth-Tenant", "team-a")
                            .header("X-Forwarded-For", "127.0.0.1")
                    },
                    404,
                ),
                (
                    "overridden",
                    &|ask| {
                        ask.key(&stranger("exec"))
                            .header("X-HTTP-Method-Override", "GET")
                            .header("X-Original-URL", format!("/sandboxes/{own}"))
                    },
                    404,
                ),
                ("own in the query", &|ask| ask.key(&stranger("exec")), 404),
            ];
            for (trick, sign, expected) in tricks {
                let [running, paused, none] = victims.ids().map(|id| {
                    let path = fill(row, id);
                    let path = match trick {
                        "own in the query" => {
                            format!("{path}?sandboxID={own}&id={own}&tenant=team-a")
                        }
                        _ => path,
                    };
                    essence(&sign(ask(method, &path)).send(world.control()))
                });
                let what = format!("{method} {} with {trick}", row.pattern);
                let expected =
                    if row.class == Class::Admin && expected == 404 { 403 } else { expected };
                assert_eq!(none.0, expected, "{what}");
                assert_eq!(running, none, "{what}");
                assert_eq!(paused, none, "{what}");
            }
        }
    }
    victims.are_unharmed(&world);
}

#[test]
fn no_spelling_of_an_id_helps() {
    let world = world();
    let victims = Victims::of(&world);
    type Spelling = fn(&str) -> String;
    let spellings: [Spelling; 20] = [
        |id| id.to_uppercase(),
        |id| format!("{}{}", id[..1].to_uppercase(), &id[1..]),
        |id| format!("%{:02x}{}", id.as_bytes()[0], &id[1..]),
        |id| format!("{id}-"),
        |id| format!("{id}--x"),
        |id| format!("{id}-x-y"),
        |id| format!("-{id}"),
        |id| format!("x-{id}"),
        |id| format!("{id}%2Dx"),
        |id| format!("{id}%2Fx"),
        |id| format!("x%2F..%2F{id}"),
        |id| format!("{id}%2e"),
        |id| format!("{id}."),
        |id| format!("{id}%20"),
        |id| format!("{id}+"),
        |id| format!("{id};x"),
        |id| format!("{id}%00"),
        |id| format!("{id}%3Fx"),
        |id| format!("./{id}"),
        |id| format!("{id},{id}"),
    ];
    for (number, spelling) in spellings.into_iter().enumerate() {
        for (method, before, after) in [
            ("GET", "/sandboxes/", ""),
            ("DELETE", "/sandboxes/", ""),
            ("POST", "/sandboxes/", "/pause"),
            ("POST", "/v2/sandboxes/", "/connect"),
            ("GET", "/cubeapi/v1/sandboxes/", "/logs"),
            ("GET", "/events/sandboxes/", ""),
            ("GET", "/vscode-proxy/", "/x"),
            ("GET", "/sandboxes/metrics?sandbox_ids=", ""),
            ("GET", "/snapshots?sandboxID=", ""),
        ] {
            let [running, paused, none] = victims.ids().map(|id| {
                let ask = ask(method, &format!("{before}{}{after}", spelling(id)));
                let answer = ask.clone().key(&stranger("exec")).send(world.control());
                let nothing = answer.status == 200
                    && matches!(answer.text().as_str(), "[]" | r#"{"sandboxes":{}}"#);
                assert!(nothing || answer.status >= 400, "{ask:?}: {}", answer.text());
                essence(&answer)
            });
            assert_eq!(running, none, "{method} {before}{}{after}", spelling(UNKNOWN));
            assert_eq!(paused, none, "{method} {before}{}{after} ({number})", spelling(UNKNOWN));
        }
    }
    let requests = world.simulator.requests();
    assert!(requests.iter().all(is_a_look), "{requests:#?}");
    victims.are_unharmed(&world);
}

#[test]
fn nothing_that_a_stranger_may_ask_holds_anything_of_anothers() {
    let world = world();
    let victims = Victims::of(&world);
    let snapshot = Ask::post(&format!("/sandboxes/{}/snapshots", victims.running), "{}");
    assert_eq!(world.ask("exec", snapshot).status, 201);
    let tokens =
        [&victims.running, &victims.paused].map(|id| world.simulator.tokens_of(id).unwrap());
    // A stream of events has no end; what it shows is what `/audit/events` shows.
    let ends = |row: &&Route| row.pattern != "/audit/stream";
    for row in table::rows().filter(on_control).filter(|row| !has_a_gap(row)).filter(ends) {
        for (prefix, (method, _)) in
            prefixes(row).iter().flat_map(|prefix| METHODS.map(|method| (prefix, method)))
        {
            for role in ["read", "exec", "owner"] {
                for query in ["", "?limit=100", "?metadata=note%3Dwhat-only-team-a-may-read"] {
                    let path = format!("{prefix}{}{query}", row.pattern);
                    let body = r#"{"templateID":"base","timeout":60}"#;
                    let ask = Ask::new(method, &path).header("Content-Type", "application/json");
                    let ask = if method == "GET" { ask } else { ask.body(body) };
                    let answer = ask.key(&stranger(role)).send(world.control());
                    let text = format!("{:?} {}", answer.headers, answer.text());
                    let ids = [SECRET, &victims.running, &victims.paused, "team-a"];
                    let real = tokens.iter().flat_map(|(envd, traffic)| [envd.as_str(), traffic]);
                    for secret in ids.into_iter().chain(real) {
                        assert!(!text.contains(secret), "{method} {path} by {role}: {text}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_makes_sandboxes_and_is_not_listed_is_an_admins() {
    let world = world();
    for (method, path) in [
        ("POST", "/sandboxes/"),
        ("POST", "/v2/sandboxes/"),
        ("POST", "/v3/sandboxes"),
        ("POST", "/Sandboxes"),
        ("POST", "/cubeapi/v1/v2/sandboxes"),
        ("POST", "/cubeapi/v1/sandboxes/"),
        ("PUT", "/sandboxes"),
        ("PATCH", "/sandboxes/i1"),
        ("PUT", "/sandboxes/i1/metadata"),
        ("PATCH", "/sandboxes/i1/metadata"),
        ("POST", "/sandboxes/i1/clone"),
        ("POST", "/snapshots/s1/restore"),
        ("POST", "/schedules"),
    ] {
        for role in ["read", "exec", "owner"] {
            let answer = ask(method, path).key(&stranger(role)).send(world.control());
            assert_eq!(answer.status, 403, "{method} {path} by {role}: {}", answer.text());
        }
    }
    assert!(world.simulator.requests().is_empty());
}
