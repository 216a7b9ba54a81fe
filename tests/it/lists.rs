//! Lists of sandboxes as their tenants see them: all of one's own, page by page, and nothing of anybody else.

mod about;
mod answers;
mod filters;
mod scale;
mod unmarked;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use coppice_gateway::simulator::{Options, RecordedRequest};

use crate::support::client::{python, succeed};
use crate::support::world::key;
use crate::support::{Answer, Ask, World};

/// What no answer to one tenant may hold of another: names in metadata.
const SECRET_OF_A: &str = "secret-of-a";
const SECRET_OF_B: &str = "secret-of-b";

/// A simulator that filters, and one that takes filters and does not apply them.
fn worlds() -> [World; 2] {
    [false, true].map(|ignore_filters| {
        World::with(Options { ignore_filters, ..Options::default() }, |setup| setup)
    })
}

/// Creates a sandbox whose metadata names `secret`.
fn create(world: &World, role: &str, secret: &str) -> String {
    let body = format!(
        r#"{{"templateID":"base","timeout":300,"metadata":{{"note":"{secret}","shared":"x y"}}}}"#
    );
    let answer = world.ask(role, Ask::post("/v2/sandboxes", body));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["sandboxID"].as_str().unwrap().to_owned()
}

/// `count` sandboxes of each of the two tenants, in turns.
fn populate(world: &World, count: usize) -> (BTreeSet<String>, BTreeSet<String>) {
    let both = (0..count)
        .map(|_| (create(world, "exec", SECRET_OF_A), create(world, "other", SECRET_OF_B)));
    both.unzip()
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let entries = json.as_array().unwrap_or_else(|| panic!("no array: {json}"));
    entries.iter().map(|entry| entry["sandboxID"].as_str().unwrap().to_owned()).collect()
}

fn id_set(answer: &Answer) -> BTreeSet<String> {
    let ids = ids(answer);
    let set: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(set.len(), ids.len(), "listed twice: {ids:?}");
    set
}

/// What the upstream was asked for clients, not on the gateway's own account.
fn forwarded(world: &World) -> Vec<RecordedRequest> {
    let mut requests = world.simulator.requests();
    requests.retain(|request| request.header("x-request-id").is_some());
    requests
}

/// Follows the paginator's rule: goes on while the header says that there is more.
fn walk(world: &World, role: &str, query: &str) -> Vec<Answer> {
    walk_from(world.control(), role, query)
}

fn walk_from(gateway: SocketAddr, role: &str, query: &str) -> Vec<Answer> {
    let mut pages = Vec::new();
    let mut next = None;
    loop {
        let token = next.map(|token: String| format!("&nextToken={token}")).unwrap_or_default();
        let page = Ask::get(&format!("/v2/sandboxes?{query}{token}"));
        let page = page.key(&key(role)).send(gateway);
        assert_eq!(page.status, 200, "{}", page.text());
        next = page.header("x-next-token").map(str::to_owned);
        pages.push(page);
        assert!(pages.len() < 100, "the listing has no end");
        if next.is_none() {
            return pages;
        }
    }
}

#[test]
fn every_tenant_sees_its_own_and_an_admin_all() {
    for world in worlds() {
        let (of_a, of_b) = populate(&world, 3);
        let all: BTreeSet<String> = of_a.union(&of_b).cloned().collect();
        for path in
            ["/sandboxes", "/v2/sandboxes", "/cubeapi/v1/sandboxes", "/cubeapi/v1/v2/sandboxes"]
        {
            world.simulator.clear_requests();
            let list = |role: &str| world.ask(role, Ask::get(path));
            for (role, expected) in [
                ("read", &of_a),
                ("exec", &of_a),
                ("owner", &of_a),
                ("other", &of_b),
                ("admin", &all),
            ] {
                let answer = list(role);
                assert_eq!(&id_set(&answer), expected, "{role} {path}");
                let marked = answer.text().contains("coppice_tenant_id");
                assert_eq!(marked, role == "admin", "{role} {path}");
                let foreign = if role == "other" { SECRET_OF_A } else { SECRET_OF_B };
                assert_eq!(answer.text().contains(foreign), role == "admin", "{role} {path}");
            }
            let asked: Vec<String> = forwarded(&world).into_iter().map(|ask| ask.path).collect();
            let of = |tenant: &str| format!("{path}?metadata=coppice_tenant_id%3D{tenant}");
            let (a, b) = (of("team-a"), of("team-b"));
            assert_eq!(asked, [a.as_str(), &a, &a, &b, path], "pushed upstream");
        }
    }
}

#[test]
fn two_hundred_and_fifty_are_listed_page_by_page() {
    for world in worlds() {
        let (of_a, of_b) = populate(&world, 125);
        for (role, expected, foreign) in
            [("read", &of_a, SECRET_OF_B), ("other", &of_b, SECRET_OF_A)]
        {
            for limit in [7, 100] {
                let pages = walk(&world, role, &format!("limit={limit}"));
                let listed: Vec<String> = pages.iter().flat_map(ids).collect();
                assert_eq!(listed.len(), expected.len(), "{role} by {limit}");
                assert_eq!(&listed.into_iter().collect::<BTreeSet<_>>(), expected);
                for page in &pages {
                    assert!(ids(page).len() <= limit);
                    assert!(!page.text().contains(foreign) && !page.text().contains("tenant"));
                }
            }
        }
        let all: Vec<String> = walk(&world, "admin", "limit=100").iter().flat_map(ids).collect();
        assert_eq!(all.len(), 250);
        let v1 = world.ask("other", Ask::get("/sandboxes"));
        assert_eq!(id_set(&v1), of_b, "unpaged");
    }
}

#[test]
fn the_sdks_paginator_copes_with_short_and_empty_pages() {
    for world in worlds() {
        // In runs, so that an upstream that does not filter has pages without any of one's own.
        for (role, whose) in [("exec", "ours"), ("other", "theirs"), ("exec", "ours")] {
            let body =
                format!(r#"{{"templateID":"base","timeout":300,"metadata":{{"of":"{whose}"}}}}"#);
            for _ in 0..if whose == "ours" { 15 } else { 30 } {
                assert_eq!(world.ask(role, Ask::post("/v2/sandboxes", body.as_str())).status, 201);
            }
        }
        let mut script = python(".venv", "python/sync/tenants.py");
        script
            .env("E2B_API_URL", world.api_url())
            .env("E2B_SANDBOX_URL", world.sandbox_url())
            .env("E2B_API_KEY", world.key("exec"))
            .env("OTHER_KEY", world.key("other"))
            .env("COUNT", "30");
        succeed(script, &world.gateway);
    }
}

#[test]
fn totals_are_the_callers_own_or_not_told() {
    let [filters, ignores] = worlds();
    for (world, filters) in [(&filters, true), (&ignores, false)] {
        let (of_a, _) = populate(world, 5);
        let paused = of_a.first().unwrap();
        let pause = Ask::post(&format!("/sandboxes/{paused}/pause"), "{}");
        assert_eq!(world.ask("exec", pause).status, 204);
        // b's newest sandbox comes before a's, and a's before that.
        create(world, "exec", SECRET_OF_A);
        let total = |role: &str, query: &str| {
            let answer = world.ask(role, Ask::get(&format!("/v2/sandboxes?{query}")));
            answer.header("x-total-running").map(str::to_owned)
        };
        // A whole list is counted by the gateway, whatever the upstream says.
        assert_eq!(total("read", "").as_deref(), Some("5"));
        assert_eq!(total("other", "").as_deref(), Some("5"));
        assert_eq!(total("read", "state=paused"), None);
        let paged = filters.then_some("5");
        for query in ["limit=1", "limit=2", "limit=1&metadata=shared%3Dx%252520y"] {
            assert_eq!(total("read", query).as_deref(), paged, "{query} {filters}");
        }
        // Nobody knows what an upstream makes of a filter that it cannot read.
        assert_ne!(total("read", "limit=1&metadata=x").as_deref(), Some("10"));
        assert_eq!(total("admin", "limit=1").as_deref(), Some("10"));
    }
}

#[test]
fn an_upstream_is_tried_once_before_its_count_is_believed() {
    let world =
        World::with(Options::default(), |setup| setup.without("--workers=").flag("--workers=1"));
    populate(&world, 3);
    world.simulator.clear_requests();
    for _ in 0..5 {
        let page = world.ask("read", Ask::get("/v2/sandboxes?limit=1"));
        assert_eq!(page.header("x-total-running"), Some("3"));
    }
    let tries = world.simulator.requests().len() - forwarded(&world).len();
    assert_eq!(tries, 1, "{:#?}", world.simulator.requests());
}

#[test]
fn head_tells_no_more_than_get() {
    for world in worlds() {
        populate(&world, 4);
        for path in ["/sandboxes", "/v2/sandboxes?limit=2", "/snapshots", "/events/sandboxes"] {
            let answer = world.ask("read", Ask::new("HEAD", path));
            assert_eq!(answer.status, 200, "{path}");
            for name in ["x-total-running", "content-length", "etag"] {
                assert_eq!(answer.header(name), None, "{path} {name}");
            }
        }
    }
}

#[test]
fn a_list_teaches_whose_sandboxes_are() {
    let world = World::new();
    let id = create(&world, "exec", SECRET_OF_A);
    let replica = world.replica();
    let ask = |ask: Ask| ask.key(&world.key("exec")).send(replica.control());
    assert_eq!(ids(&ask(Ask::get("/v2/sandboxes"))), [id.as_str()]);
    world.simulator.clear_requests();
    assert_eq!(
        ask(Ask::post(&format!("/sandboxes/{id}/timeout"), r#"{"timeout":60}"#)).status,
        204
    );
    assert_eq!(world.simulator.requests().len(), 1, "nothing had to be asked");
    // But for the token, which no list tells.
    let inside =
        Ask::get("/envs").header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", "49983");
    let answer = inside.key(&world.key("exec")).send(replica.address("port=*"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn an_open_gateway_lists_everything() {
    let world = World::open();
    let upstream = world.simulator.api_url().trim_start_matches("http://").parse().unwrap();
    for tenant in ["team-a", "team-b"] {
        let body =
            format!(r#"{{"templateID":"base","metadata":{{"coppice_tenant_id":"{tenant}"}}}}"#);
        Ask::post("/v2/sandboxes", body).send(upstream);
    }
    let query = "/v2/sandboxes?limit=1&metadata=coppice_tenant_id%3Dteam-b";
    let answer = Ask::get(query).send(world.control());
    assert_eq!(ids(&answer).len(), 1);
    assert_eq!(answer.header("x-total-running"), Some("1"));
    assert_eq!(ids(&Ask::get("/sandboxes").send(world.control())).len(), 2);
}
