//! Certificates of clients: who gets in with which, and who is a proxy by it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use coppice_gateway::clock::UnixTime;
use coppice_gateway::simulator::{Options, Plane};
use rustls::AlertDescription as Alert;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{api, templates};
use crate::support::World;
use crate::support::authority::Authority;
use crate::support::gateway::Setup;
use crate::support::tls::{Secure, alert, client, speaks};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::DOMAIN;

type Pair = (PathBuf, PathBuf);

/// A world that takes certificates of `clients`.
fn world(server: &Authority, clients: &Authority, change: impl FnOnce(Setup) -> Setup) -> World {
    let (certificate, key) = server.issue("server", &format!("DNS:{DOMAIN},DNS:*.{DOMAIN}"));
    let ca = format!("--tls-client-ca={}", clients.file().display());
    World::with(Options::default(), |setup| change(speaks(setup, (&certificate, &key)).flag(ca)))
}

/// The status for a client, or the alert with which it is turned away.
fn status(world: &World, config: ClientConfig) -> Result<u16, Alert> {
    let client = Secure::with(world.control(), config, &api());
    let answer = client.and_then(|mut client| client.try_ask(&templates()));
    answer.map(|answer| answer.status).map_err(|why| alert(&why))
}

/// What a client knows that has this certificate.
fn with(server: &Authority, own: Option<&Pair>) -> ClientConfig {
    client(server, own.map(|(certificate, key)| (&**certificate, &**key)))
}

#[test]
fn who_must_have_a_certificate_and_whose_counts() {
    let (server, ours, other) = (Authority::new(), Authority::new(), Authority::new());
    let good = ours.issue("good", "DNS:client.test");
    let foreign = other.issue("foreign", "DNS:client.test");
    // The server's own authority vouches for no client.
    let servers = server.issue("servers", "DNS:client.test");
    for (flag, without) in [
        (None, Err(Alert::CertificateRequired)),
        (Some("--tls-client-auth=required"), Err(Alert::CertificateRequired)),
        (Some("--tls-client-auth=optional"), Ok(200)),
    ] {
        let world = world(&server, &ours, |setup| flag.into_iter().fold(setup, Setup::flag));
        for (own, expected) in [
            (Some(&good), Ok(200)),
            (None, without),
            // An authority of the same name, so that it is its signature that does not fit.
            (Some(&foreign), Err(Alert::DecryptError)),
            (Some(&servers), Err(Alert::DecryptError)),
        ] {
            assert_eq!(status(&world, with(&server, own)), expected, "{flag:?} {own:?}");
        }
        let let_in = if without.is_ok() { 2 } else { 1 };
        assert_eq!(world.simulator.requests().len(), let_in, "{flag:?}");
    }
}

#[test]
fn a_certificate_whose_time_is_over_lets_nobody_in_again() {
    let (server, ours) = (Authority::new(), Authority::new());
    let proxies = "--trusted-proxies=cert:edge.test";
    let worlds = ["required", "optional"].map(|flag| {
        let flag = format!("--tls-client-auth={flag}");
        world(&server, &ours, |setup| setup.flag(flag).flag(proxies))
    });
    let ends = UnixTime(UnixTime::now().0 + 8);
    let own = ours.issue_until("brief", "DNS:edge.test", ends);
    // Each remembers its sessions.
    let clients = [with(&server, Some(&own)), with(&server, Some(&own))];
    let all = || {
        let clients = worlds.iter().zip(&clients);
        clients.map(|(world, client)| status(world, client.clone())).collect::<Vec<_>>()
    };
    assert_eq!(all(), [Ok(200), Ok(200)]);
    eventually("its time is over", PATIENCE, || UnixTime::now() > ends);
    assert_eq!(all(), [Err(Alert::CertificateExpired), Err(Alert::CertificateExpired)]);
}

#[test]
fn who_is_turned_away_is_told_why_whatever_is_sent_meanwhile() {
    let (server, ours) = (Authority::new(), Authority::new());
    let world = world(&server, &ours, |setup| setup);
    let request = templates().body(vec![b'x'; 100_000]).kept_bytes(world.control());
    for round in 0..50 {
        let name = ServerName::try_from(api()).unwrap();
        let mut session = ClientConnection::new(with(&server, None).into(), name).unwrap();
        let mut socket = TcpStream::connect(world.control()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        session.write_tls(&mut socket).unwrap();
        while session.is_handshaking() {
            session.read_tls(&mut socket).unwrap();
            session.process_new_packets().unwrap();
        }
        // The last of the handshake goes out with the request.
        let mut stream = StreamOwned::new(session, socket);
        let sent = stream.write_all(&request).and_then(|()| stream.read(&mut [0]));
        assert_eq!(alert(&sent.unwrap_err()), Alert::CertificateRequired, "round {round}");
    }
}

#[test]
fn a_certificate_is_no_key() {
    let (server, ours) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.issue("good", "DNS:client.test");
    let world = world(&server, &ours, |setup| setup);
    let config = with(&server, Some(&(certificate, key)));
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
        let config = with(&server, own.as_ref());
        let mut client = Secure::with(world.control(), config, &api()).unwrap();
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
