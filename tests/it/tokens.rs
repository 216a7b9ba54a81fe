//! Sandbox tokens: what answers carry in place of the upstream's own, what they open, and when they stop.

use coppice_gateway::simulator::{Options, Plane};
use serde_json::Value;

use crate::support::keys_file::KeysFile;
use crate::support::upstream::Upstream;
use crate::support::world::key;
use crate::support::{Answer, Ask, World};

const BASE: &str = r#"{"templateID":"base","timeout":300}"#;

fn token_fields(json: &Value) -> (Option<&str>, Option<&str>) {
    (json["envdAccessToken"].as_str(), json["trafficAccessToken"].as_str())
}

/// Everything of an answer as text, to be searched.
fn whole(answer: &Answer) -> String {
    format!("{:?} {}", answer.headers, answer.text())
}

/// Every request whose answer carries tokens, for one running sandbox and its paused self.
fn token_answers(world: &World, role: &str, id: &str) -> Vec<(&'static str, Answer)> {
    let path = |rest: &str| format!("/sandboxes/{id}{rest}");
    let ask = |ask: Ask| world.ask(role, ask);
    let detail = ask(Ask::get(&path("")));
    let connect = ask(Ask::post(&path("/connect"), r#"{"timeout":300}"#));
    let connect_v2 = ask(Ask::post(&format!("/v2/sandboxes/{id}/connect"), "{}"));
    assert_eq!(ask(Ask::post(&path("/pause"), "{}")).status, 204);
    let paused_detail = ask(Ask::get(&path("")));
    let resume = ask(Ask::post(&path("/resume"), r#"{"timeout":300}"#));
    vec![
        ("detail", detail),
        ("connect", connect),
        ("connect v2", connect_v2),
        ("detail of a paused one", paused_detail),
        ("resume", resume),
    ]
}

#[test]
fn answers_carry_one_token_for_each_key_and_never_the_upstreams() {
    for tokens in [true, false] {
        let world = World::with(Options { tokens, ..Options::default() }, |setup| setup);
        let created = ["/sandboxes", "/v2/sandboxes"].map(|path| {
            let answer = world.ask("exec", Ask::post(path, BASE));
            assert_eq!(answer.status, 201);
            answer
        });
        for create in created {
            let json = create.json();
            let id = json["sandboxID"].as_str().unwrap();
            let (Some(token), Some(traffic)) = token_fields(&json) else {
                panic!("no tokens in {json}")
            };
            assert_eq!(token, traffic);
            let real = world.simulator.tokens_of(id);
            assert_eq!(real.is_some(), tokens);
            let real = real.map_or(vec![], |(envd, traffic)| vec![envd, traffic]);
            let mut of_roles = vec![token.to_owned()];
            for role in ["exec", "owner", "admin"] {
                let answers = token_answers(&world, role, id);
                let first = token_fields(&answers[0].1.json()).0.unwrap().to_owned();
                for (what, answer) in &answers {
                    assert!(answer.status < 300, "{role} {what}: {}", answer.text());
                    let json = answer.json();
                    let both = (Some(first.as_str()), Some(first.as_str()));
                    assert_eq!(token_fields(&json), both, "{role} {what}");
                    assert!(real.iter().all(|real| !whole(answer).contains(real)), "{what}");
                    let shown = json["metadata"].get("coppice_tenant_id").is_some();
                    let expected = what.starts_with("detail") && role == "admin";
                    assert_eq!(shown, expected, "the marker in {role} {what}");
                }
                of_roles.push(first);
            }
            assert_eq!(of_roles[0], of_roles[1], "the creator's, each time");
            of_roles.sort();
            of_roles.dedup();
            assert_eq!(of_roles.len(), 3, "one for each key");
        }
    }
}

#[test]
fn every_fork_gets_its_own_token() {
    let world = World::new();
    let (id, _) = world.create("exec");
    let fork = Ask::post(&format!("/sandboxes/{id}/fork"), r#"{"count":3,"timeout":60}"#);
    let answer = world.ask("exec", fork);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let json = answer.json();
    let forks = json.as_array().unwrap();
    assert_eq!(forks.len(), 3);
    for fork in forks {
        let fork = &fork["sandbox"];
        let id = fork["sandboxID"].as_str().unwrap();
        let (envd, traffic) = world.simulator.tokens_of(id).unwrap();
        let text = whole(&answer);
        assert!(!text.contains(&envd) && !text.contains(&traffic));
        let (token, also) = token_fields(fork);
        assert_eq!(token, also);
        let list = Ask::post("/process.Process/List", "{}");
        let opened = world.ask_sandbox(id, 49983, list.header("X-Access-Token", token.unwrap()));
        assert_eq!(opened.status, 200, "{}", opened.text());
    }
}

#[test]
fn a_read_key_gets_no_token() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let detail = world.ask("read", Ask::get(&format!("/sandboxes/{id}")));
    assert_eq!(detail.status, 200);
    let json = detail.json();
    assert_eq!(json["sandboxID"], id.as_str());
    for field in ["envdAccessToken", "trafficAccessToken"] {
        assert!(json.get(field).is_none(), "{field}: {json}");
    }
    assert!(!whole(&detail).contains(&token));
}

#[test]
fn no_trick_of_http_gets_at_the_upstreams_tokens() {
    let world = World::new();
    let (id, _) = world.create("exec");
    let (envd, traffic) = world.simulator.tokens_of(&id).unwrap();
    let path = format!("/sandboxes/{id}");
    for role in ["read", "exec"] {
        for ask in [
            Ask::get(&path).header("Accept-Encoding", "gzip, br, zstd"),
            Ask::get(&path).header("Range", "bytes=0-100000"),
            Ask::get(&path).header("If-None-Match", "*"),
            Ask::get(&path).header("Accept", "text/html"),
            Ask::get(&path).header("X-HTTP-Method-Override", "POST"),
            Ask::new("HEAD", &path),
            Ask::get(&format!("{path}?x=1")),
            Ask::get(&format!("{path}-client1")),
            Ask::get(&format!("{path}/")),
            Ask::get(&format!("/cubeapi/v1{path}")),
            Ask::get("/sandboxes"),
            Ask::get("/v2/sandboxes"),
            Ask::get(&format!("/v2/sandboxes/{id}")),
        ] {
            let answer = world.ask(role, ask.clone());
            let text = whole(&answer);
            assert!(!text.contains(&envd) && !text.contains(&traffic), "{ask:?}: {text}");
        }
    }
    for request in world.reached(Plane::Control) {
        if request.path.starts_with(&path) {
            assert_eq!(request.header("accept-encoding"), None, "{request:?}");
            assert_eq!(request.header("range"), None, "{request:?}");
        }
    }
}

#[test]
fn a_token_opens_its_sandbox_in_either_header() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let (envd, traffic) = world.simulator.tokens_of(&id).unwrap();
    let list = || Ask::post("/process.Process/List", "{}");
    let execute = || Ask::post("/execute", r#"{"code":"print(6*7)"}"#);
    for (port, ask) in [
        (49983, list().header("X-Access-Token", &token)),
        (49983, list().header("E2B-Traffic-Access-Token", &token)),
        (49983, list().key(&world.key("exec"))),
        (49983, list().bearer(&world.key("exec"))),
        (
            49999,
            execute().header("X-Access-Token", &token).header("E2B-Traffic-Access-Token", &token),
        ),
        // All that SDKs send there.
        (49999, Ask::get("/contexts").header("E2B-Traffic-Access-Token", &token)),
        (49999, Ask::get("/contexts").key(&world.key("read"))),
    ] {
        world.simulator.clear_requests();
        let answer = world.ask_sandbox(&id, port, ask.clone());
        assert_eq!(answer.status, 200, "{ask:?}: {}", answer.text());
        let sent = world.reached(Plane::Data);
        assert_eq!(sent[0].header("x-access-token"), Some(envd.as_str()), "{ask:?}");
        assert_eq!(sent[0].header("e2b-traffic-access-token"), Some(traffic.as_str()), "{ask:?}");
        let seen = format!("{:?}", sent[0].headers);
        for secret in [&token, &world.key("exec"), &world.key("read")] {
            assert!(!seen.contains(secret), "{ask:?}: {seen}");
        }
        assert!(!seen.contains("x-coppice"), "the guest learns nothing of the caller: {seen}");
    }
}

#[test]
fn on_user_ports_a_foreign_bearer_passes_beside_a_token() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let (envd, _) = world.simulator.tokens_of(&id).unwrap();
    let ask = |ask: Ask| {
        world.simulator.clear_requests();
        let answer = world.ask_sandbox(&id, 50005, ask);
        (answer, world.reached(Plane::Data).pop())
    };
    let (answer, sent) =
        ask(Ask::get("/mcp").bearer("the app's own").header("E2B-Traffic-Access-Token", &token));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(sent.unwrap().header("authorization"), Some("Bearer the app's own"));
    // A gateway credential is not the app's, wherever it stands.
    let (answer, sent) =
        ask(Ask::get("/mcp").bearer(&world.key("exec")).header("X-Access-Token", &token));
    let sent = sent.unwrap();
    assert_eq!((answer.status, sent.header("authorization")), (200, None));
    assert!(sent.headers.iter().all(|(_, value)| *value != envd), "envd's token is envd's");
    assert_eq!(ask(Ask::get("/mcp").bearer("the app's own")).0.status, 401, "and it opens nothing");
}

#[test]
fn a_private_port_stays_open_to_a_token_after_a_look_at_the_sandbox() {
    // A detail answer holds no traffic token, so what an earlier answer said of it must be kept.
    let world = World::new();
    let body = r#"{"templateID":"base","timeout":300,"network":{"allowPublicTraffic":false}}"#;
    let created = world.ask("exec", Ask::post("/v2/sandboxes", body)).json();
    let (id, token) = (created["sandboxID"].as_str().unwrap(), token_fields(&created).0.unwrap());
    let open = || world.ask_sandbox(id, 8080, Ask::get("/").header("X-Access-Token", token)).status;
    assert_eq!(open(), 200);
    assert_eq!(world.ask("exec", Ask::get(&format!("/sandboxes/{id}"))).status, 200);
    assert_eq!(open(), 200);
}

#[test]
fn a_token_opens_no_other_sandbox() {
    let world = World::new();
    let (_, token) = world.create("exec");
    let (own, _) = world.create("exec");
    let (foreign, _) = world.create("other");
    for id in [own.as_str(), &foreign, "i0000000000000000000"] {
        for port in [49983, 49999, 8080] {
            for header in ["X-Access-Token", "E2B-Traffic-Access-Token"] {
                let answer =
                    world.ask_sandbox(id, port, Ask::get("/health").header(header, &token));
                assert_eq!((answer.status, answer.code().as_str()), (404, "sandbox_not_found"));
            }
        }
    }
    assert!(world.reached(Plane::Data).is_empty());
}

#[test]
fn a_token_that_was_touched_opens_nothing() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let (envd, traffic) = world.simulator.tokens_of(&id).unwrap();
    let mut bad = vec![envd, traffic, "x".to_owned(), "cgt1_".to_owned(), format!("{token}A")];
    for at in (0..token.len()).step_by(7) {
        let other = if token.as_bytes()[at] == b'B' { "C" } else { "B" };
        let mut touched = token.clone();
        touched.replace_range(at..=at, other);
        bad.push(touched);
    }
    for bad in bad {
        for port in [49983, 49999] {
            let answer =
                world.ask_sandbox(&id, port, Ask::get("/health").header("X-Access-Token", &bad));
            // A sandbox id that was touched makes it a token of another sandbox, sealed by nobody.
            assert_eq!(answer.status, 401, "{bad}: {}", answer.text());
        }
    }
    assert!(world.reached(Plane::Data).is_empty());
}

#[test]
fn a_token_is_nothing_on_the_control_plane() {
    let world = World::new();
    let (id, token) = world.create("exec");
    world.simulator.clear_requests();
    for path in ["/v2/sandboxes", "/auth/whoami", &format!("/sandboxes/{id}")] {
        for ask in [
            Ask::get(path).header("X-Access-Token", &token),
            Ask::get(path).header("E2B-Traffic-Access-Token", &token),
            Ask::get(path).key(&token),
            Ask::get(path).bearer(&token),
        ] {
            assert_eq!(ask.send(world.control()).status, 401, "{ask:?}");
        }
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn a_token_may_do_what_its_key_may_now() {
    let secret = "e2b_1111111111111111111111111111111111111111";
    let file = KeysFile::new(&format!("team-a:{secret}:exec"));
    let world = file.world();
    let created = Ask::post("/v2/sandboxes", BASE).key(secret).send(world.control()).json();
    let (id, token) = (created["sandboxID"].as_str().unwrap(), token_fields(&created).0.unwrap());
    let health =
        || world.ask_sandbox(id, 49983, Ask::get("/health").header("X-Access-Token", token));
    let list = || {
        let list = Ask::post("/process.Process/List", "{}").header("X-Access-Token", token);
        world.ask_sandbox(id, 49983, list)
    };
    assert_eq!((health().status, list().status), (204, 200));
    file.reload(&world.gateway, &format!("team-a:{secret}:read\n"));
    assert_eq!(health().status, 204);
    let refused = list();
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["message"], "API key lacks required scope: exec");
    // The same words for the same key in another tenant are another key.
    let file = KeysFile::new(&format!("team-a:{secret}:exec"));
    let world = file.world();
    let created = Ask::post("/v2/sandboxes", BASE).key(secret).send(world.control()).json();
    let (id, token) = (created["sandboxID"].as_str().unwrap(), token_fields(&created).0.unwrap());
    file.reload(&world.gateway, &format!("team-c:{secret}:exec\n"));
    let moved = world.ask_sandbox(id, 49983, Ask::get("/health").header("X-Access-Token", token));
    assert_eq!(moved.status, 401);
}

#[test]
fn a_token_dies_with_its_key() {
    let secret = "e2b_1111111111111111111111111111111111111111";
    let file = KeysFile::new(&format!("team-a:{secret}:exec"));
    let world = file.world();
    let created = Ask::post("/v2/sandboxes", BASE).key(secret).send(world.control()).json();
    let (id, token) = (created["sandboxID"].as_str().unwrap(), token_fields(&created).0.unwrap());
    file.reload(&world.gateway, "team-a:e2b_2222222222222222222222222222222222222222:exec\n");
    let health = world.ask_sandbox(id, 49983, Ask::get("/health").header("X-Access-Token", token));
    assert_eq!(health.status, 401);
}

#[test]
fn another_secret_signs_other_tokens() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let stranger = World::with(Options::default(), |setup| {
        setup.env("COPPICE_SECRET", "another signing secret that is also long enough")
    });
    let ask = Ask::get("/health").header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", "49983");
    assert_eq!(ask.header("X-Access-Token", &token).send(stranger.data()).status, 401);
}

#[test]
fn a_fork_cannot_be_given_another_tenants_marker() {
    let world = World::new();
    let (id, _) = world.create("exec");
    world.simulator.clear_requests();
    let body = r#"{"count":1,"metadata":{"coppice_tenant_id":"team-b","mine":"kept"}}"#;
    let answer = world.ask("exec", Ask::post(&format!("/sandboxes/{id}/fork"), body));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let requests = world.simulator.requests();
    let fork = requests.iter().find(|request| request.path.ends_with("/fork")).unwrap();
    let marked = r#"{"count":1,"metadata":{"mine":"kept","coppice_tenant_id":"team-a"}}"#;
    assert_eq!(fork.body, marked);
}

#[test]
fn forks_in_another_shape_show_no_token_of_the_upstream() {
    let upstream = Upstream::always(FORKS);
    let gateway = upstream.gateway();
    let fork = Ask::post("/sandboxes/i1/fork", r#"{"count":3}"#).key(&key("admin"));
    let answer = fork.send(gateway.control());
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(!answer.text().contains("real"), "{}", answer.text());
}

const FORKS: &str = "HTTP/1.1 201 Created\r\nContent-Length: 160\r\n\r\n\
    [{\"sandboxID\":\"i1\",\"envdAccessToken\":\"real\"},\
    {\"Sandbox\":{\"sandboxID\":\"i2\",\"trafficAccessToken\":\"real\"}},\
    {\"sandbox\":{\"sandboxID\":\"i3\",\"envdAccessToken\":\"real\"}}]";
