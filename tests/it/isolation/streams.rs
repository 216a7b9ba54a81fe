//! Two tenants on one HTTP/2 connection, as behind a proxy: each stream is judged by its own credential alone.

use coppice_gateway::simulator::Plane;
use futures_util::future::join_all;
use http::{Method, Request};

use super::{UNKNOWN, Victims, stranger, world};
use crate::http2::{connect, parts, whole};
use crate::support::wait::run;
use crate::support::world::{DOMAIN, key};

#[test]
fn streams_of_two_tenants_on_one_connection_stay_apart() {
    let world = world();
    let victims = Victims::of(&world);
    run(async {
        let sender = connect(world.control()).await;
        let hosts = [&victims.running, &victims.paused, UNKNOWN].map(|id| {
            [
                (Method::POST, format!("http://api.{DOMAIN}/v2/sandboxes/{id}/connect")),
                (Method::GET, format!("http://api.{DOMAIN}/sandboxes/{id}")),
                (Method::GET, format!("http://8080-{id}.{DOMAIN}/x")),
                (Method::POST, format!("http://49983-{id}.{DOMAIN}/process.Process/List")),
            ]
        });
        let asks = (0..5).flat_map(|_| hosts.iter().enumerate()).flat_map(|(number, urls)| {
            urls.iter().flat_map(move |url| [(number, url, true), (number, url, false)])
        });
        let told = join_all(asks.map(|(number, (method, url), is_stranger)| {
            let mut sender = sender.clone();
            // Its owner only looks: what it may do is seen elsewhere.
            let is_stranger = is_stranger || *method == Method::POST || number > 0;
            let key = if is_stranger { stranger("exec") } else { key("exec") };
            let request = Request::builder().method(method).uri(url).header("x-api-key", key);
            let request = request.header("content-type", "application/json").body(whole("{}"));
            async move {
                sender.ready().await.unwrap();
                let (status, body, _) =
                    parts(sender.send_request(request.unwrap()).await.unwrap()).await;
                (url, is_stranger, status, body)
            }
        }))
        .await;
        assert_eq!(told.len(), 120);
        for (url, is_stranger, status, body) in told {
            assert_eq!(status, if is_stranger { 404 } else { 200 }, "{url}: {body:?}");
        }
    });
    let reached = world.simulator.requests();
    assert!(reached.iter().all(|seen| seen.method == "GET"), "{reached:#?}");
    // Nothing but its owner's looks got into the one that runs, and nothing into the other.
    for seen in reached.iter().filter(|seen| seen.plane == Plane::Data) {
        assert_eq!(seen.host, format!("8080-{}.{DOMAIN}", victims.running));
    }
    world.simulator.clear_requests();
    victims.are_unharmed(&world);
}
