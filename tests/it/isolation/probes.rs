//! Somebody else's sandbox costs as much as none: in questions to the upstream, in time, and when it cannot be asked.
//!
//! How long an answer takes follows from what the upstream was asked for it, so that is what is compared. The clock is
//! only looked at behind an upstream that is slow to answer, where one question more or less is most of the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{essence, stranger, with_strangers, world};
use crate::signed::{encode, sign};
use crate::support::world::{self, DOMAIN};
use crate::support::{Answer, Ask, Gateway, Upstream, World};

/// How long an absent sandbox is certainly still remembered as absent.
const REMEMBERED: Duration = Duration::from_millis(1500);

/// One way to try an id.
struct Probe {
    name: &'static str,
    is_data: bool,
    ask: fn(&str) -> Ask,
}

const fn on_control(name: &'static str, ask: fn(&str) -> Ask) -> Probe {
    Probe { name, is_data: false, ask }
}

const fn on_data(name: &'static str, ask: fn(&str) -> Ask) -> Probe {
    Probe { name, is_data: true, ask }
}

const PROBES: [Probe; 12] = [
    on_control("look", |id| keyed(Ask::get(&format!("/sandboxes/{id}")))),
    on_control("kill", |id| keyed(Ask::new("DELETE", &format!("/sandboxes/{id}")))),
    on_control("pause", |id| keyed(Ask::post(&format!("/sandboxes/{id}/pause"), "{}"))),
    on_control("connect", |id| {
        keyed(Ask::post(&format!("/v2/sandboxes/{id}/connect"), r#"{"timeout":60}"#))
    }),
    on_control("fork", |id| keyed(Ask::post(&format!("/sandboxes/{id}/fork"), "{}"))),
    on_control("metrics", |id| keyed(Ask::get(&format!("/sandboxes/metrics?sandbox_ids={id}")))),
    on_control("snapshots", |id| keyed(Ask::get(&format!("/snapshots?sandboxID={id}")))),
    on_control("host", |id| keyed(Ask::get("/").host(&format!("8080-{id}.{DOMAIN}")))),
    on_data("headers", |id| keyed(inside(Ask::get("/metrics"), id))),
    on_data("call", |id| keyed(inside(Ask::post("/process.Process/List", "{}"), id))),
    on_data("websocket", |id| {
        keyed(Ask::get("/ws").host(&format!("8080-{id}.{DOMAIN}")).upgrading())
    }),
    on_data("signed", |id| signed(id, "somebody's token")),
];

fn keyed(ask: Ask) -> Ask {
    ask.key(&stranger("exec"))
}

fn inside(ask: Ask, id: &str) -> Ask {
    ask.header("E2b-Sandbox-Id", id).header("E2b-Sandbox-Port", "49983")
}

fn signed(id: &str, token: &str) -> Ask {
    let signature = encode(&sign("/a", "read", "", token, None));
    Ask::get(&format!("/files?path=/a&signature={signature}")).host(&format!("49983-{id}.{DOMAIN}"))
}

impl Probe {
    fn send(&self, gateway: &Gateway, id: &str) -> Answer {
        let address = if self.is_data { gateway.address("port=*") } else { gateway.control() };
        (self.ask)(id).send(address)
    }
}

/// What the upstream is asked when `id` is tried twice, with the id left out; and the answers.
fn asked_for(world: &World, gateway: &Gateway, probe: &Probe, id: &str) -> Tried {
    let plain = id.split('-').next().unwrap();
    let one = || {
        world.simulator.clear_requests();
        let answer = essence(&probe.send(gateway, id));
        let asked = world.simulator.requests().into_iter();
        let mut asked: Vec<_> = asked
            .map(|seen| format!("{} {}", seen.method, seen.path.replace(plain, "ID")))
            .collect();
        asked.sort();
        (answer, asked)
    };
    [one(), one()]
}

type Tried = [((u16, Vec<(String, String)>, String), Vec<String>); 2];

#[test]
fn somebody_elses_sandbox_costs_the_same_questions_as_none() {
    let world = world();
    for suffix in ["", "-client1", "-a-b"] {
        for probe in &PROBES {
            // Known for its owner's sake; known from a list; never heard of.
            for known in ["used", "listed", "never"] {
                let replica = (known != "used").then(|| world.sibling(with_strangers));
                let gateway = replica.as_ref().unwrap_or(&world.gateway);
                let (foreign, token) = world.create("exec");
                let owner = world::key("exec");
                match known {
                    "used" => {
                        for name in [foreign.clone(), format!("{foreign}{suffix}")] {
                            let look = Ask::get(&format!("/sandboxes/{name}")).key(&owner);
                            assert_eq!(look.send(gateway.control()).status, 200);
                            let call = inside(Ask::get("/metrics"), &name);
                            let call = call.header("X-Access-Token", &token);
                            assert_eq!(call.send(gateway.address("port=*")).status, 200);
                        }
                    }
                    "listed" => {
                        let list = Ask::get("/v2/sandboxes").key(&owner).send(gateway.control());
                        assert!(list.text().contains(&foreign));
                    }
                    _ => {}
                }
                let what = format!("{} of ID{suffix}, {known}", probe.name);
                let began = Instant::now();
                let of_foreign = asked_for(&world, gateway, probe, &format!("{foreign}{suffix}"));
                let of_unknown =
                    asked_for(&world, gateway, probe, &format!("i{}{suffix}", unknown(&foreign)));
                if began.elapsed() < REMEMBERED {
                    assert_eq!(of_foreign, of_unknown, "{what}");
                }
            }
        }
    }
}

/// The rest of an id like this one that nobody has, and that nobody asked for yet.
fn unknown(id: &str) -> String {
    id[1..].bytes().rev().map(char::from).collect()
}

/// An upstream that takes as long as `look` for a look at a sandbox, whose ids are whole: it calls a part of one bad,
/// as it does everything once it is `broken`.
fn upstream(look: Duration, broken: Arc<AtomicBool>) -> Upstream {
    Upstream::start(move |_, talk| {
        while let Some(head) = talk.request() {
            let path = head.split(' ').nth(1).unwrap();
            let (status, json) = match path.strip_prefix("/sandboxes/") {
                Some(_) if head.starts_with("GET") && broken.load(Ordering::SeqCst) => {
                    ("500 Oops", "{}".to_owned())
                }
                Some(id) => {
                    std::thread::sleep(look);
                    match id.split_once('-') {
                        None => ("400 Bad Request", r#"{"message":"no id"}"#.to_owned()),
                        Some(("of", _)) => ("200 OK", of_a(id)),
                        Some(_) => ("404 Not Found", r#"{"message":"none"}"#.to_owned()),
                    }
                }
                None => {
                    let made = head.split("x-made: ").nth(1).unwrap_or("of-a");
                    ("201 Created", of_a(made.split("\r\n").next().unwrap()))
                }
            };
            let length = json.len();
            talk.send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{json}"));
        }
    })
}

fn of_a(id: &str) -> String {
    format!(r#"{{"sandboxID":"{id}","metadata":{{"coppice_tenant_id":"team-a"}}}}"#)
}

/// Has team-a make the sandbox `id`, so that the gateway knows it.
fn make(gateway: &Gateway, id: &str) {
    let made = Ask::post("/sandboxes", "{}").header("X-Made", id).key(&world::key("exec"));
    assert_eq!(made.send(gateway.control()).status, 201);
}

#[test]
fn an_upstream_that_cannot_be_asked_is_no_oracle() {
    let broken = Arc::new(AtomicBool::new(false));
    let upstream = upstream(Duration::ZERO, Arc::clone(&broken));
    let gateway = upstream.gateway_with(with_strangers);
    make(&gateway, "of-a");
    broken.store(true, Ordering::SeqCst);
    for probe in &PROBES {
        let [of_foreign, of_unknown] =
            ["of-a", "of-nobody"].map(|id| essence(&probe.send(&gateway, id)));
        assert_eq!(of_foreign, of_unknown, "{}", probe.name);
        assert_eq!(of_unknown.0, 503, "{}: {}", probe.name, of_unknown.2);
    }
    // Its owner does not suffer from that.
    let own = Ask::post("/sandboxes/of-a/pause", "{}").key(&world::key("exec"));
    assert_eq!(own.send(gateway.control()).status, 200);
}

#[test]
fn a_part_of_an_id_may_be_none() {
    let upstream = upstream(Duration::ZERO, Arc::default());
    let gateway = upstream.gateway_with(with_strangers);
    for id in ["of-a", "is-nobodys"] {
        let look = |key: &str| {
            Ask::get(&format!("/sandboxes/{id}/logs")).key(key).send(gateway.control()).status
        };
        assert_eq!(look(&stranger("exec")), 404, "{id}");
        assert_eq!(look(&world::key("exec")), if id == "of-a" { 200 } else { 404 }, "{id}");
    }
}

/// The middle one of what it takes to try each of these ids, in turns with each of those.
fn medians(gateway: &Gateway, probe: &Probe, these: &[String], those: &[String]) -> [Duration; 2] {
    let mut taken = [Vec::new(), Vec::new()];
    for (this, that) in these.iter().zip(those) {
        for (times, id) in taken.iter_mut().zip([this, that]) {
            let began = Instant::now();
            let status = probe.send(gateway, id).status;
            times.push(began.elapsed());
            assert!(matches!(status, 401 | 404), "{status}");
        }
    }
    taken.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

#[test]
fn somebody_elses_sandbox_takes_as_long_as_none() {
    const LOOK: Duration = Duration::from_millis(10);
    let upstream = upstream(LOOK, Arc::default());
    let gateway = upstream.gateway_with(with_strangers);
    let wanted = ["pause", "host", "signed"];
    for probe in PROBES.iter().filter(|probe| wanted.contains(&probe.name)) {
        let ids = |start: &str| -> Vec<String> {
            (0..100).map(|number| format!("{start}-{}{number}", probe.name)).collect()
        };
        let (foreign, unknown) = (ids("of"), ids("no"));
        for id in &foreign {
            make(&gateway, id);
        }
        // First each has to be asked about; then it is remembered that there is none.
        for (what, least) in [("first", LOOK), ("again", Duration::ZERO)] {
            let few = if what == "again" { 20 } else { 100 };
            let tail = |ids: &[String]| ids[ids.len() - few..].to_vec();
            let [of_foreign, of_unknown] =
                medians(&gateway, probe, &tail(&foreign), &tail(&unknown));
            let told = format!("{} {what}: {of_foreign:?} and {of_unknown:?}", probe.name);
            assert!(of_foreign >= least && of_unknown >= least, "{told}");
            // One question more or less would be a factor of at least two of the first times, and ten of the others.
            let (short, long) = (of_foreign.min(of_unknown), of_foreign.max(of_unknown));
            assert!(long < short * 3 / 2 + LOOK / 5, "{told}");
        }
    }
}
