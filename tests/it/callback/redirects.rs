//! A redirect is a refusal: an auth service that sends strangers to a login page must not let them in, and no third
//! party gets to see a credential.

use super::{assert_rejected, world};
use crate::support::Ask;
use crate::support::callback::{Reply, Scripted};

#[test]
fn a_page_that_answers_200_lets_nobody_in() {
    let third = Scripted::always(Reply::allow());
    let service = Scripted::always(Reply::allow());
    let world = world(&service);
    for status in [301, 302, 303, 307, 308] {
        for location in [
            third.url(),
            format!("//{}/verify", third.address()),
            service.url(),
            "/login".to_owned(),
            "?again".to_owned(),
        ] {
            let before = service.count();
            service.now(Reply::status(status).with("Location", &location).max_age(60));
            for ask in [Ask::get("/sandboxes").key("key"), Ask::get("/nodes").bearer("key")] {
                assert_rejected(&ask.send(world.control()), &format!("{status} {location}"));
            }
            assert_eq!(service.count(), before + 2, "{status} {location}");
        }
    }
    assert_eq!(third.connections(), 0);
    assert!(world.simulator.requests().is_empty());
    assert!(service.calls().iter().all(|call| call.method == "POST" && call.target == "/verify"));
}

#[test]
fn nor_does_a_refresh_or_another_service() {
    let third = Scripted::always(Reply::allow());
    let service = Scripted::always(
        Reply::status(401)
            .with("Refresh", &format!("0; url={}", third.url()))
            .with("Alt-Svc", &format!("http/1.1=\"{}\"", third.address()))
            .with("Set-Cookie", "session=1"),
    );
    let world = world(&service);
    for _ in 0..3 {
        assert_rejected(&Ask::get("/sandboxes").key("key").send(world.control()), "refused");
    }
    assert_eq!(third.connections(), 0);
    assert!(service.calls().iter().all(|call| call.header("cookie").is_none()));
}
