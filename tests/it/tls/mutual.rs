//! Certificates of clients: who gets in with which, and who is a proxy by it.

use std::path::PathBuf;

use coppice_gateway::simulator::{Options, Plane};

use super::{api, templates};
use crate::support::World;
use crate::support::authority::Authority;
use crate::support::gateway::Setup;
use crate::support::tls::{Secure, client, speaks};
use crate::support::world::DOMAIN;

type Pair = (PathBuf, PathBuf);

/// A world that takes certificates of `clients`.
fn world(server: &Authority, clients: &Authority, change: impl FnOnce(Setup) -> Setup) -> World {
    let (certificate, key) = server.issue("server", &format!("DNS:{DOMAIN},DNS:*.{DOMAIN}"));
    let ca = format!("--tls-client-ca={}", clients.file().display());
    World::with(Options::default(), |setup| change(speaks(setup, (&certificate, &key)).flag(ca)))
}

/// The status for a client with this certificate; none: it is turned away.
fn status(world: &World, server: &Authority, own: Option<&Pair>) -> Option<u16> {
    let config = client(server, own.map(|(certificate, key)| (&**certificate, &**key)));
    let mut client = Secure::with(world.control(), config, &api()).ok()?;
    Some(client.try_ask(&templates()).ok()?.status)
}

#[test]
fn who_must_have_a_certificate_and_whose_counts() {
    let (server, ours, other) = (Authority::new(), Authority::new(), Authority::new());
    let good = ours.issue("good", "DNS:client.test");
    let foreign = other.issue("foreign", "DNS:client.test");
    // The server's own authority vouches for no client.
    let servers = server.issue("servers", "DNS:client.test");
    for (flag, without) in [
        (None, None),
        (Some("--tls-client-auth=required"), None),
        (Some("--tls-client-auth=optional"), Some(200)),
    ] {
        let world = world(&server, &ours, |setup| flag.into_iter().fold(setup, Setup::flag));
        assert_eq!(status(&world, &server, Some(&good)), Some(200), "{flag:?}");
        assert_eq!(status(&world, &server, None), without, "{flag:?}");
        assert_eq!(status(&world, &server, Some(&foreign)), None, "{flag:?}");
        assert_eq!(status(&world, &server, Some(&servers)), None, "{flag:?}");
        let let_in = if without.is_some() { 2 } else { 1 };
        assert_eq!(world.simulator.requests().len(), let_in, "{flag:?}");
    }
}

#[test]
fn a_certificate_is_no_key() {
    let (server, ours) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.issue("good", "DNS:client.test");
    let world = world(&server, &ours, |setup| setup);
    let config = client(&server, Some((&certificate, &key)));
    let mut client = Secure::with(world.control(), config, &api()).unwrap();
    let ask = crate::support::Ask::get("/templates").host(&api());
    assert_eq!(client.ask(&ask).status, 401);
}

#[test]
fn a_proxy_is_known_by_a_name_of_its_certificate() {
    let (server, ours) = (Authority::new(), Authority::new());
    let world = world(&server, &ours, |setup| {
        setup
            .flag("--tls-client-auth=optional")
            .flag("--trusted-proxies=10.0.0.0/8,cert:Edge.test,cert:edge-2.test")
    });
    let told = |names: Option<&str>| {
        let own = names.map(|names| ours.issue("client", names));
        let own = own.as_ref().map(|(certificate, key)| (&**certificate, &**key));
        let mut client = Secure::with(world.control(), client(&server, own), &api()).unwrap();
        let ask = templates()
            .header("X-Forwarded-For", "203.0.113.7")
            .header("X-Forwarded-Proto", "http")
            .header("X-Forwarded-Host", "public.test");
        assert_eq!(client.ask(&ask).status, 200);
        let request = world.reached(Plane::Control).pop().unwrap();
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| {
            let found = request.headers.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.clone()).unwrap()
        })
    };
    let believed = ["203.0.113.7, 127.0.0.1", "http", "public.test"].map(str::to_owned);
    let unbelieved = ["127.0.0.1", "https", &api()].map(str::to_owned);
    for (names, expected) in [
        (None, &unbelieved),
        (Some("DNS:edge.test"), &believed),
        (Some("DNS:other.test,DNS:EDGE-2.test"), &believed),
        (Some("DNS:other.test"), &unbelieved),
        (Some("DNS:*.test"), &unbelieved),
        (Some("DNS:x.edge.test"), &unbelieved),
        (Some("URI:edge.test"), &unbelieved),
        (Some("IP:127.0.0.1"), &unbelieved),
    ] {
        assert_eq!(&told(names), expected, "{names:?}");
    }
}
