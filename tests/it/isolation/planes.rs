//! Every data-plane route in every form that names a sandbox, with every credential that a stranger can have.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coppice_gateway::route::{Class, Notes, Route, Surface, table};
use coppice_gateway::simulator::Plane;

use super::{Essence, UNKNOWN, Victims, essence, essence_about, needed, rank, stranger, world};
use crate::matrix::METHODS;
use crate::signed::{encode, sign};
use crate::support::world::DOMAIN;
use crate::support::{Ask, World};

/// A way to name a port of a sandbox.
struct Form {
    name: &'static str,
    /// The listener; `label` stands for the one of the port, where there is one.
    listener: &'static str,
    put: fn(Ask, &str, u16) -> Ask,
}

const FORMS: [Form; 12] = [
    Form { name: "headers", listener: "port=*", put: headers },
    Form {
        name: "suffixed header",
        listener: "port=*",
        put: |ask, id, port| headers(ask, &suffixed(id), port),
    },
    Form { name: "host", listener: "port=*", put: host },
    Form { name: "host on the control listener", listener: "control plane", put: host },
    Form {
        name: "suffixed host",
        listener: "control plane",
        put: |ask, id, port| host(ask, &suffixed(id), port),
    },
    Form {
        name: "host in capitals",
        listener: "control plane",
        put: |ask, id, port| ask.host(&format!("{port}-{id}.{}", DOMAIN.to_uppercase())),
    },
    Form {
        name: "host and headers",
        listener: "control plane",
        put: |ask, id, port| headers(host(ask, id, port), &suffixed(id), port),
    },
    Form {
        name: "shared host",
        listener: "control plane",
        put: |ask, id, port| headers(shared(ask), id, port),
    },
    Form {
        name: "shared host on the data listener",
        listener: "port=*",
        put: |ask, id, port| headers(shared(ask), id, port),
    },
    Form { name: "one port", listener: "control plane", put: headers },
    Form { name: "label", listener: "label", put: |ask, id, _| ask.header("E2b-Sandbox-Id", id) },
    Form { name: "label and host", listener: "label", put: host },
];

fn headers(ask: Ask, id: &str, port: u16) -> Ask {
    ask.header("E2b-Sandbox-Id", id).header("E2b-Sandbox-Port", port.to_string())
}

fn host(ask: Ask, id: &str, port: u16) -> Ask {
    ask.host(&format!("{port}-{id}.{DOMAIN}"))
}

fn shared(ask: Ask) -> Ask {
    ask.host(&format!("sandbox.{DOMAIN}"))
}

fn suffixed(id: &str) -> String {
    format!("{id}-client1")
}

const PORTS: [(Surface, u16); 3] =
    [(Surface::Envd, 49_983), (Surface::Interpreter, 49_999), (Surface::Port, 8080)];

fn rows() -> impl Iterator<Item = (&'static Route, u16)> {
    table::rows().filter_map(|row| {
        let (_, port) = PORTS.into_iter().find(|(surface, _)| *surface == row.surface)?;
        Some((row, port))
    })
}

fn path(row: &Route) -> String {
    row.pattern.replace("{id}", "thing").replace('*', "some/thing")
}

fn ask(method: &str, path: &str, content_type: &str) -> Ask {
    let ask = Ask::new(method, path);
    match method {
        "POST" | "PUT" | "PATCH" => ask.header("Content-Type", content_type).body("{}"),
        _ => ask,
    }
}

/// Credentials of somebody of team-b: how they are shown, and whose rank they have.
struct Credential {
    name: &'static str,
    role: &'static str,
    sign: Box<dyn Fn(Ask) -> Ask>,
}

fn credentials(token: &str) -> Vec<Credential> {
    let credential = |name, role, sign: Box<dyn Fn(Ask) -> Ask>| Credential { name, role, sign };
    let shown = |header: &'static str| -> Box<dyn Fn(Ask) -> Ask> {
        let token = token.to_owned();
        Box::new(move |ask| ask.header(header, &token))
    };
    let traffic = shown("E2B-Traffic-Access-Token");
    vec![
        credential("read key", "read", Box::new(|ask| ask.key(&stranger("read")))),
        credential("exec key", "exec", Box::new(|ask| ask.key(&stranger("exec")))),
        credential("owner key", "owner", Box::new(|ask| ask.key(&stranger("owner")))),
        credential("bearer", "exec", Box::new(|ask| ask.bearer(&stranger("exec")))),
        credential("own token", "exec", shown("X-Access-Token")),
        credential("own traffic token", "exec", shown("E2B-Traffic-Access-Token")),
        credential(
            "token and key",
            "exec",
            Box::new(move |ask| traffic(ask.key(&stranger("exec")))),
        ),
    ]
}

/// What comes of a request for each of team-a's sandboxes and for none, which must be the same.
fn same_for_all(victims: &Victims, what: &str, send: impl Fn(&str) -> Essence) -> Essence {
    let [running, paused, none] = victims.ids().map(send);
    assert_eq!(running, none, "{what}");
    assert_eq!(paused, none, "{what}, paused");
    none
}

fn nothing_got_in(world: &World) {
    let requests = world.simulator.requests();
    assert!(!requests.iter().any(|seen| seen.plane == Plane::Data), "{requests:#?}");
}

#[test]
fn no_form_and_no_credential_leads_into_another_tenants_sandbox() {
    let world = world();
    let victims = Victims::of(&world);
    let (_, token) = world.create("other");
    let credentials = credentials(&token);
    world.simulator.clear_requests();
    let mut count = 0;
    for (row, port) in rows() {
        let labels: &[&str] = match port {
            49_983 => &["port=49983"],
            49_999 => &["port=49999"],
            _ => &[],
        };
        for form in &FORMS {
            let listener = match (form.listener, labels) {
                ("label", [label]) => label,
                ("label", _) => continue,
                (listener, _) => listener,
            };
            let address = world.gateway.address(listener);
            for (method, listed) in METHODS.iter().filter(|(_, of)| row.methods.contains(*of)) {
                for Credential { name, role, sign } in &credentials {
                    let what =
                        format!("{method} {} on {port} by {name}, {}", row.pattern, form.name);
                    let told = same_for_all(&victims, &what, |id| {
                        let ask = (form.put)(ask(method, &path(row), "application/json"), id, port);
                        essence_about(&sign(ask).send(address), id)
                    });
                    // On one port for both planes a path that no sandbox port lists stays with the sandbox API.
                    if form.name == "one port" && row.surface == Surface::Port {
                        assert!(told.0 >= 400, "{what}: {}", told.2);
                        continue;
                    }
                    let lacks =
                        row.class != Class::Hidden && rank(role) < needed(row, "", *listed).0;
                    assert_eq!(told.0, if lacks { 403 } else { 404 }, "{what}: {}", told.2);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 3_000, "only {count}");
    nothing_got_in(&world);
    victims.are_unharmed(&world);
}

#[test]
fn no_upgrade_leads_into_another_tenants_sandbox() {
    let world = world();
    let victims = Victims::of(&world);
    let (_, token) = world.create("other");
    let credentials = credentials(&token);
    world.simulator.clear_requests();
    for (port, path) in
        [(8080, "/ws"), (8080, "/"), (49_983, "/health"), (49_999, "/health"), (1, "/")]
    {
        for form in FORMS.iter().filter(|form| form.listener != "label") {
            for Credential { name, role, sign } in &credentials {
                let what = format!("{path} on {port} by {name}, {}", form.name);
                let told = same_for_all(&victims, &what, |id| {
                    let ask = (form.put)(Ask::get(path).upgrading(), id, port);
                    essence_about(&sign(ask).send(world.gateway.address(form.listener)), id)
                });
                let may_read = port > 8080 && *role == "read";
                let stays = form.name == "one port" && port <= 8080;
                let allowed = if stays {
                    401..=404
                } else if *role == "read" && !may_read {
                    403..=403
                } else {
                    404..=404
                };
                assert!(allowed.contains(&told.0), "{what}: {}", told.2);
            }
        }
    }
    nothing_got_in(&world);
    victims.are_unharmed(&world);
}

#[test]
fn calls_are_refused_alike_in_every_dialect() {
    let world = world();
    let victims = Victims::of(&world);
    for (row, port) in rows().filter(|(row, _)| row.pattern.contains('.')) {
        for kind in [
            "application/connect+json",
            "application/connect+proto",
            "application/proto",
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web",
        ] {
            let what = format!("{} as {kind}", row.pattern);
            let told = same_for_all(&victims, &what, |id| {
                let ask = headers(ask("POST", row.pattern, kind), id, port);
                essence_about(&ask.key(&stranger("exec")).send(world.data()), id)
            });
            let head = format!("{:?}", told.1);
            let is_not_found = told.0 == 404
                || told.2.contains("not_found")
                || head.contains(r#"("grpc-status", "5")"#);
            assert!(is_not_found, "{what}: {told:?}");
        }
    }
    nothing_got_in(&world);
    victims.are_unharmed(&world);
}

#[test]
fn no_signature_of_ones_own_opens_another_tenants_files() {
    let world = world();
    let victims = Victims::of(&world);
    let (own, token) = world.create("other");
    let (real, _) = world.simulator.tokens_of(&own).unwrap();
    world.simulator.clear_requests();
    for (row, port) in rows().filter(|(row, _)| row.notes.has(Notes::SIGNED)) {
        for (method, _) in METHODS.iter().filter(|(_, of)| row.methods.contains(*of)) {
            let operation = if *method == "POST" { "write" } else { "read" };
            // With the token that SDKs got, with upstream's own, and without any, as for open sandboxes.
            for signed_with in [token.as_str(), &real, ""] {
                let signature = encode(&sign("/tmp/f", operation, "", signed_with, None));
                for form in &FORMS[..10] {
                    // Other forms name the sandbox in headers, which no browser sends; here they may.
                    let what = format!("{method} with {signed_with:?}, {}", form.name);
                    let told = same_for_all(&victims, &what, |id| {
                        let path = format!("/files?path=/tmp/f&signature={signature}");
                        let ask =
                            (form.put)(ask(method, &path, "application/octet-stream"), id, port);
                        essence_about(&ask.send(world.gateway.address(form.listener)), id)
                    });
                    assert!(matches!(told.0, 400 | 401), "{what}: {}", told.2);
                }
            }
        }
    }
    nothing_got_in(&world);
    victims.are_unharmed(&world);
}

#[test]
fn a_token_made_to_name_another_tenants_sandbox_is_none() {
    let world = world();
    let victims = Victims::of(&world);
    let (own, token) = world.create("other");
    world.simulator.clear_requests();
    let text = token.strip_prefix("cgt1_").unwrap();
    let bytes = String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(text).unwrap()).into_owned();
    assert!(bytes.ends_with(&own), "a token says which sandbox it is for: {bytes}");
    let forged = |id: &str| {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
        let start = bytes.len() - own.len();
        bytes.splice(start.., id.bytes());
        format!("cgt1_{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    assert_eq!(forged(&own), token);
    let (running, paused) = (victims.running.clone(), victims.paused.clone());
    for header in ["X-Access-Token", "E2B-Traffic-Access-Token"] {
        for address in [world.data(), world.gateway.address("port=49983"), world.control()] {
            // Without any other name, the token's is what says where the request goes.
            let told = [running.as_str(), &paused, UNKNOWN].map(|id| {
                let ask = Ask::get("/metrics").header("E2b-Sandbox-Port", "49983");
                essence(&ask.header(header, forged(id)).send(address))
            });
            assert_eq!(told[0].0, 401, "{}", told[0].2);
            assert_eq!((&told[0], &told[1]), (&told[2], &told[2]));
            let named = [running.as_str(), &paused, UNKNOWN].map(|id| {
                let ask = headers(Ask::get("/metrics"), id, 49_983);
                essence(&ask.header(header, forged(id)).send(address))
            });
            assert_eq!(named[0].0, 401, "{}", named[0].2);
            assert_eq!((&named[0], &named[1]), (&named[2], &named[2]));
        }
    }
    nothing_got_in(&world);
    victims.are_unharmed(&world);
}

#[test]
fn a_target_that_is_half_ones_own_is_refused() {
    let world = world();
    let victims = Victims::of(&world);
    let (own, token) = world.create("other");
    world.simulator.clear_requests();
    let (shared, own_host) = (format!("sandbox.{DOMAIN}"), format!("8080-{own}.{DOMAIN}"));
    let with =
        |ask: Ask, id: &str| ask.header("E2b-Sandbox-Id", id).header("E2b-Sandbox-Port", "8080");
    for sign in [&(|ask: Ask| ask.key(&stranger("exec"))) as &dyn Fn(Ask) -> Ask, &|ask: Ask| {
        ask.header("X-Access-Token", &token)
    }] {
        type Mixed<'a> = &'a dyn Fn(&str) -> Ask;
        let mixed: [(&str, Mixed<'_>, u16); 8] = [
            ("own host, foreign header", &|id| with(Ask::get("/").host(&own_host), id), 400),
            ("foreign host, own header", &|id| with(host(Ask::get("/"), id, 8080), &own), 400),
            ("two headers, own first", &|id| with(with(Ask::get("/"), &own), id), 400),
            ("two headers, foreign first", &|id| with(with(Ask::get("/"), id), &own), 400),
            (
                "two on the shared host",
                &|id| with(with(Ask::get("/").host(&shared), &own), id),
                400,
            ),
            ("two in one header", &|id| with(Ask::get("/"), &format!("{own},{id}")), 400),
            ("foreign behind own", &|id| with(Ask::get("/"), &format!("{id}-{own}")), 404),
            ("another port in the host", &|id| with(host(Ask::get("/"), id, 8081), id), 400),
        ];
        for (what, ask, status) in mixed {
            let told = same_for_all(&victims, what, |id| {
                essence_about(&sign(ask(id)).send(world.data()), id)
            });
            assert_eq!(told.0, status, "{what}: {}", told.2);
        }
        // An absolute target or a second host do not name another sandbox either.
        for id in victims.ids() {
            let absolute = Ask::get(&format!("http://8080-{id}.{DOMAIN}/")).host(&own_host);
            assert_eq!(sign(absolute).send(world.data()).status, 400);
            let second =
                Ask::get("/").host(&own_host).header("Host", format!("8080-{id}.{DOMAIN}"));
            assert_eq!(sign(second).send(world.data()).status, 400);
        }
        // What is forwarded beside the target means nothing.
        for id in victims.ids() {
            let beside = with(Ask::get("/").host(&own_host), &own)
                .header("X-Forwarded-Host", format!("8080-{id}.{DOMAIN}"))
                .header("X-Original-Host", format!("8080-{id}.{DOMAIN}"))
                .header("Forwarded", format!("host=8080-{id}.{DOMAIN}"));
            world.simulator.clear_requests();
            assert_eq!(sign(beside).send(world.data()).status, 200);
            let reached = world.simulator.requests().pop().unwrap();
            assert_eq!(reached.host, own_host);
            assert_eq!(reached.header("e2b-sandbox-id"), Some(own.as_str()));
            world.simulator.clear_requests();
        }
    }
    victims.are_unharmed(&world);
}

#[test]
fn a_token_of_another_tenant_beside_ones_own_key_opens_what_it_opens_and_no_more() {
    let world = world();
    let victims = Victims::of(&world);
    let detail = world.ask("exec", Ask::get(&format!("/sandboxes/{}", victims.running))).json();
    let theirs = detail["envdAccessToken"].as_str().unwrap().to_owned();
    world.simulator.clear_requests();
    // On envd and the interpreter the key is what counts.
    for (port, path) in [(49_983, "/metrics"), (49_999, "/contexts")] {
        let ask = headers(Ask::get(path), &victims.running, port);
        let ask = ask.key(&stranger("exec")).header("X-Access-Token", &theirs);
        assert_eq!(ask.send(world.data()).status, 404, "{port}");
    }
    // It was made for one sandbox, whoever holds it.
    let paused = headers(Ask::get("/"), &victims.paused, 8080).header("X-Access-Token", &theirs);
    assert_eq!(paused.send(world.data()).status, 404);
    nothing_got_in(&world);
    victims.are_unharmed(&world);
}
