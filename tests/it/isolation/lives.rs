//! Ids that come back: what was one tenant's is the other's now, with nothing left over of before.

use std::sync::Mutex;

use coppice_gateway::simulator::Options;

use super::{essence, stranger, with_strangers};
use crate::support::world::key;
use crate::support::{Answer, Ask, Gateway, Upstream, World};

/// An upstream with one id for every sandbox. It keeps metadata, or does not.
fn upstream(keeps: bool) -> Upstream {
    let owner: Mutex<Option<String>> = Mutex::default();
    Upstream::start(move |_, talk| {
        while let Some(head) = talk.request() {
            let (method, path) = head.split_once(' ').unwrap();
            let tenant = head.split("x-coppice-tenant: ").nth(1);
            let tenant = tenant.and_then(|rest| rest.split("\r\n").next()).unwrap_or_default();
            let mut owner = owner.lock().unwrap();
            let metadata = match owner.as_ref().filter(|_| keeps) {
                Some(owner) => format!(r#"{{"coppice_tenant_id":"{owner}"}}"#),
                None => "{}".to_owned(),
            };
            let (status, json) = match (method, path.split(' ').next().unwrap()) {
                ("POST", "/sandboxes") => {
                    *owner = Some(tenant.to_owned());
                    ("201 Created", r#"{"sandboxID":"i1"}"#.to_owned())
                }
                // It ends by itself: nobody is told.
                ("POST", "/end") => {
                    *owner = None;
                    ("204 No Content", String::new())
                }
                (_, path) if path.starts_with("/sandboxes/i1") && owner.is_none() => {
                    ("404 Not Found", r#"{"message":"gone"}"#.to_owned())
                }
                ("DELETE", _) => {
                    *owner = None;
                    ("204 No Content", String::new())
                }
                ("GET", _) => ("200 OK", format!(r#"{{"sandboxID":"i1","metadata":{metadata}}}"#)),
                _ => ("200 OK", r#"{"sandboxID":"i1"}"#.to_owned()),
            };
            let length = json.len();
            talk.send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{json}"));
        }
    })
}

fn create(gateway: &Gateway, key: &str) -> String {
    let made = Ask::post("/sandboxes", "{}").key(key).send(gateway.control());
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["envdAccessToken"].as_str().unwrap().to_owned()
}

fn inside(gateway: &Gateway, sign: impl FnOnce(Ask) -> Ask) -> Answer {
    let ask = Ask::get("/x").header("E2b-Sandbox-Id", "i1").header("E2b-Sandbox-Port", "8080");
    sign(ask).send(gateway.address("port=*"))
}

fn pause(gateway: &Gateway, id: &str, key: &str) -> Answer {
    Ask::post(&format!("/sandboxes/{id}/pause"), "{}").key(key).send(gateway.control())
}

#[test]
fn an_id_that_comes_back_is_its_new_owners_alone() {
    for keeps in [true, false] {
        for killed in ["by its owner", "by an admin", "by itself"] {
            let what = format!("keeps {keeps}, ended {killed}");
            let kept = tempfile::tempdir().unwrap();
            let setup = |setup| with_strangers(setup).state_dir(kept.path());
            let upstream = upstream(keeps);
            let gateway = upstream.gateway_with(setup);
            let (ours, theirs) = (key("exec"), stranger("exec"));
            let our_token = create(&gateway, &ours);
            assert_eq!(inside(&gateway, |ask| ask.key(&ours)).status, 200, "{what}");
            assert_eq!(
                inside(&gateway, |ask| ask.header("X-Access-Token", &our_token)).status,
                200
            );
            assert_eq!(pause(&gateway, "i1", &theirs).status, 404, "{what}");
            let end = match killed {
                "by its owner" => Ask::new("DELETE", "/sandboxes/i1").key(&ours),
                "by an admin" => Ask::new("DELETE", "/sandboxes/i1").key(&stranger("admin")),
                _ => Ask::post("/end", "").key(&key("admin")),
            };
            assert_eq!(end.send(gateway.control()).status, 204, "{what}");

            let their_token = create(&gateway, &theirs);
            assert_ne!(our_token, their_token);
            let is_theirs_alone = |gateway: &Gateway| {
                assert_eq!(inside(gateway, |ask| ask.key(&theirs)).status, 200, "{what}");
                let opened = inside(gateway, |ask| ask.header("X-Access-Token", &their_token));
                assert_eq!(opened.status, 200, "{what}");
                assert_eq!(inside(gateway, |ask| ask.key(&ours)).status, 404, "{what}");
                let old = inside(gateway, |ask| ask.header("X-Access-Token", &our_token));
                assert_eq!(old.status, 404, "{what}: {}", old.text());
                assert_eq!(pause(gateway, "i1", &theirs).status, 200, "{what}");
                let [foreign, unknown] = ["i1", "i2"].map(|id| essence(&pause(gateway, id, &ours)));
                assert_eq!(foreign.0, 404, "{what}");
                if keeps {
                    assert_eq!(foreign, unknown, "{what}");
                }
            };
            is_theirs_alone(&gateway);
            // So it is for a gateway that was started since.
            gateway.kill();
            is_theirs_alone(&upstream.gateway_with(setup));
        }
    }
}

#[test]
fn whoever_kills_a_sandbox_makes_room_for_its_tenant() {
    let limit = |setup| with_strangers(setup).env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=1");
    let world = World::with(Options::default(), limit);
    let create = || world.ask("exec", Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#));
    for (killer, suffix) in
        [(key("exec"), ""), (key("exec"), "-client1"), (key("admin"), ""), (stranger("admin"), "")]
    {
        // Without waiting for the next listing.
        let made = create();
        assert_eq!(made.status, 201, "{killer} {suffix}: {}", made.text());
        assert_eq!(create().status, 403);
        let id = made.json()["sandboxID"].as_str().unwrap().to_owned();
        let kill = Ask::new("DELETE", &format!("/sandboxes/{id}{suffix}")).key(&killer);
        assert_eq!(kill.send(world.control()).status, 204);
    }
    assert_eq!(create().status, 201);
}
