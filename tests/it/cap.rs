//! Ways past a tenant's cap on sandboxes, and ways to make counting them costly.
//!
//! The upstream is one that does less than E2B: it knows no aliases and no `Idempotency-Key`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};

use coppice_gateway::simulator::Options;

use crate::support::upstream::answer;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{key, key_list};
use crate::support::{Answer, Ask, Gateway, Upstream, World};

/// A plain sandbox API, which asks `create` how to answer the creates.
fn api(create: impl Fn(&Sandboxes) -> String + Send + Sync + 'static) -> Upstream {
    let sandboxes = Sandboxes::default();
    Upstream::start(move |_, talk| {
        while let Some(head) = talk.request() {
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let path = path.split('?').next().unwrap();
            let id = path.strip_prefix("/sandboxes/").unwrap_or_default();
            match method {
                "POST" => talk.send(create(&sandboxes)),
                "GET" if id.is_empty() => talk.send(answer("200 OK", &sandboxes.listed())),
                "GET" if sandboxes.has(id) => talk.send(answer("200 OK", &brief(id))),
                "DELETE" if sandboxes.remove(id) => talk.send("HTTP/1.1 204 No Content\r\n\r\n"),
                _ => talk.send(answer("404 Not Found", "{}")),
            }
        }
    })
}

#[derive(Clone, Default)]
struct Sandboxes(Arc<Mutex<(usize, BTreeSet<String>)>>);

impl Sandboxes {
    fn start(&self) -> String {
        let mut all = self.0.lock().unwrap();
        all.0 += 1;
        let id = format!("i{}", all.0);
        all.1.insert(id.clone());
        answer("201 Created", &brief(&id))
    }

    fn has(&self, id: &str) -> bool {
        self.0.lock().unwrap().1.contains(id)
    }

    fn remove(&self, id: &str) -> bool {
        self.0.lock().unwrap().1.remove(id)
    }

    fn listed(&self) -> String {
        let all = self.0.lock().unwrap();
        let briefs: Vec<String> = all.1.iter().map(|id| brief(id)).collect();
        format!("[{}]", briefs.join(","))
    }
}

fn brief(id: &str) -> String {
    format!(r#"{{"sandboxID":"{id}","metadata":{{"coppice_tenant_id":"team-a"}}}}"#)
}

fn capped(upstream: &Upstream, cap: &str) -> Gateway {
    upstream.gateway_with(|setup| {
        setup.env("COPPICE_API_KEYS", key_list()).env("COPPICE_TENANT_MAX_SANDBOXES", cap)
    })
}

fn create() -> Ask {
    Ask::post("/sandboxes", r#"{"templateID":"base"}"#).key(&key("exec"))
}

fn kill(gateway: &Gateway, id: &str) -> Answer {
    Ask::new("DELETE", &format!("/sandboxes/{id}")).key(&key("exec")).send(gateway.control())
}

fn creates(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|head| head.starts_with("POST ")).count()
}

#[test]
fn a_kill_under_another_name_frees_nothing_while_the_sandbox_lives() {
    let upstream = api(Sandboxes::start);
    let gateway = capped(&upstream, "1");
    assert_eq!(create().send(gateway.control()).status, 201);
    assert_eq!(kill(&gateway, "i1-x").status, 404);
    assert_eq!(create().send(gateway.control()).code(), "quota_exceeded");
    assert_eq!(kill(&gateway, "i1").status, 204);
    assert_eq!(create().send(gateway.control()).status, 201);
}

#[test]
fn an_upstream_that_gave_up_may_still_have_started_something() {
    for status in ["408 Request Timeout", "499 Client Closed Request"] {
        let upstream = api(move |sandboxes| {
            sandboxes.start();
            answer(status, "")
        });
        let gateway = capped(&upstream, "1");
        assert_eq!(create().send(gateway.control()).status.to_string(), status[..3]);
        assert_eq!(create().send(gateway.control()).code(), "quota_exceeded", "{status}");
        assert_eq!(creates(&upstream), 1);
    }
}

#[test]
fn nobody_forks_more_at_once_than_there_is_memory_for() {
    let upstream = api(Sandboxes::start);
    let gateway = upstream.gateway();
    assert_eq!(create().send(gateway.control()).status, 201);
    let fork = Ask::post("/sandboxes/i1/fork", r#"{"count":4000000000}"#).key(&key("exec"));
    assert_eq!(fork.send(gateway.control()).code(), "bad_count");
    assert_eq!(creates(&upstream), 1);
}

#[test]
fn without_isolation_a_fork_of_what_nobody_has_is_its_makers() {
    let world = World::with(Options::default(), |setup| {
        setup
            .env("COPPICE_TENANT_ISOLATION", "off")
            .env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=1")
    });
    let nobodys = world.simulator.seed([BTreeMap::new()]).remove(0);
    let fork = |count: usize| {
        let body = format!(r#"{{"count":{count}}}"#);
        Ask::post(&format!("/sandboxes/{nobodys}/fork"), body)
    };
    assert_eq!(world.ask("exec", fork(2)).code(), "quota_exceeded");
    assert_eq!(world.ask("exec", fork(1)).status, 201);
    assert_eq!(world.ask("exec", fork(1)).code(), "quota_exceeded");
    assert_eq!(world.ask("admin", fork(2)).status, 201, "and an admin's is nobody's still");
}

#[test]
fn whoever_leaves_while_waiting_for_room_sends_nothing() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = Arc::clone(&gate);
    let upstream = api(move |sandboxes| {
        let open = held.1.wait_while(held.0.lock().unwrap(), |open| !*open).unwrap();
        drop(open);
        sandboxes.start()
    });
    let gateway = capped(&upstream, "1");
    let control = gateway.control();
    let keyed = || create().header("Idempotency-Key", "k");
    let first = std::thread::spawn(move || keyed().send(control).status);
    eventually("the first is under way", PATIENCE, || creates(&upstream) == 1);
    let mut second = TcpStream::connect(control).unwrap();
    second.write_all(&keyed().bytes(control)).unwrap();
    // Answers on the one worker come in the order in which it noticed what happened.
    let whoami = || Ask::get("/auth/whoami").key(&key("exec")).send(control).status;
    assert_eq!(whoami(), 200);
    drop(second);
    assert_eq!(whoami(), 200);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!(first.join().unwrap(), 201);
    // What is still to be sent is sent before it ends.
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    assert_eq!(creates(&upstream), 1);
}
