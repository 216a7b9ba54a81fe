//! TLS that the gateway speaks itself: who gets in, what they are shown, and what a reload changes.

mod clear;
mod clients;
mod mutual;
mod reload;

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use coppice_gateway::simulator::Options;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConnection};

use crate::support::authority::Authority;
use crate::support::gateway::Setup;
use crate::support::telemetry::Scrape;
use crate::support::tls::{Secure, alert, client, speaks};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{DOMAIN, key};
use crate::support::{Ask, Program, Wire, World};

/// An authority, and a world whose gateway speaks TLS with its certificate for the domain and all names of it.
fn world_with(change: impl FnOnce(Setup) -> Setup) -> (Authority, World) {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("server", &format!("DNS:{DOMAIN},DNS:*.{DOMAIN}"));
    let world =
        World::with(Options::default(), |setup| change(speaks(setup, (&certificate, &key))));
    (authority, world)
}

fn world() -> (Authority, World) {
    world_with(|setup| setup)
}

fn api() -> String {
    format!("api.{DOMAIN}")
}

fn templates() -> Ask {
    Ask::get("/templates").host(&api()).key(&key("read"))
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let authority = Authority::new();
    let issue = |file: &str, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        authority.issue(file, &names.join(","))
    };
    let first = issue("first", &["first.test"]);
    let wild = issue("wild", &["*.wild.test"]);
    let exact = issue("exact", &["exact.wild.test"]);
    let config = authority.file().with_file_name("gateway.toml");
    let table = |(certificate, key): &(PathBuf, PathBuf)| {
        format!("[[server.tls]]\ncert = {certificate:?}\nkey = {key:?}\n")
    };
    std::fs::write(&config, format!("{}{}", table(&wild), table(&exact))).unwrap();
    let world = World::with(Options::default(), |setup| {
        let setup = speaks(setup, (&first.0, &first.1));
        setup.flag("--ops-listen=127.0.0.1:0").env("COPPICE_CONFIG", config.to_str().unwrap())
    });
    // What is not for a sandbox is refused on the data plane.
    for (address, status) in [(world.control(), 200), (world.data(), 403)] {
        for (name, shown) in [
            ("first.test", "first.test"),
            ("49983-i1.wild.test", "*.wild.test"),
            ("EXACT.wild.test", "exact.wild.test"),
        ] {
            let mut client = Secure::open(address, &authority, name);
            assert_eq!(client.shown(), [shown], "{name}");
            assert_eq!(client.ask(&templates()).status, status, "{name}");
        }
        // Nobody has these; the first certificate is shown, and a client that looks refuses it.
        for name in ["wild.test", "a.b.wild.test", "else.test", "127.0.0.1"] {
            let refused = Secure::with(address, client(&authority, None), name).unwrap_err();
            assert!(refused.to_string().contains("not valid for name"), "{name}: {refused}");
        }
    }
    let scrape = Scrape::of(&world.gateway, "");
    let (_, samples) = scrape.read();
    let shown = samples.keys().filter(|(name, _)| name.ends_with("tls_certificate_expiry_seconds"));
    let shown: Vec<_> = shown.map(|(_, labels)| labels["certificate"].clone()).collect();
    let files = [&exact, &first, &wild].map(|pair| pair.0.display().to_string());
    assert_eq!(shown, files);
    let ends = scrape.sum("tls_certificate_expiry_seconds", &[("certificate", &files[0])]);
    let now = coppice_gateway::clock::UnixTime::now().0 as f64;
    assert!((86_400.0..3.0 * 86_400.0).contains(&(ends - now)), "{ends}");
}

#[test]
fn a_client_hello_in_many_records_is_read_as_one() {
    let authority = Authority::new();
    let (first, exact) =
        (authority.issue("first", "DNS:first.test"), authority.issue("exact", "DNS:exact.test"));
    let config = authority.file().with_file_name("gateway.toml");
    let table = format!("[[server.tls]]\ncert = {:?}\nkey = {:?}\n", exact.0, exact.1);
    std::fs::write(&config, table).unwrap();
    let ca = authority.file();
    let world = World::with(Options::default(), |setup| {
        speaks(setup, (&first.0, &first.1))
            .flag(format!("--tls-client-ca={}", ca.display()))
            .env("COPPICE_CONFIG", config.to_str().unwrap())
    });
    let shake_hands = |own: Option<&(PathBuf, PathBuf)>| {
        let config = client(&authority, own.map(|own| (&*own.0, &*own.1)));
        let name = ServerName::try_from("exact.test").unwrap();
        let mut session = ClientConnection::new(config.into(), name).unwrap();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        // A record of one byte for each byte of the message.
        let (head, message) = hello.split_at(5);
        let mut pieces = Vec::new();
        for byte in message {
            pieces.extend_from_slice(&[head[0], head[1], head[2], 0, 1, *byte]);
        }
        let mut socket = TcpStream::connect(world.control()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::Write::write_all(&mut socket, &pieces).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        let shown = session.peer_certificates().unwrap()[0].clone();
        let names = coppice_gateway::tls::certificate::Certificate::read(&shown).unwrap().names;
        assert_eq!(*names, ["exact.test".into()]);
        let mut stream = rustls::StreamOwned::new(session, socket);
        std::io::Write::write_all(&mut stream, &templates().bytes(world.control())).unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).map(|_| answer)
    };
    let own = authority.issue("client", "DNS:client.test");
    let answer = shake_hands(Some(&own)).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    let refused = shake_hands(None).unwrap_err();
    assert_eq!(alert(&refused), AlertDescription::CertificateRequired, "all the same");
    assert_eq!(world.simulator.requests().len(), 1);
}

#[test]
fn handshakes_are_connections_and_have_an_end() {
    let (authority, world) =
        world_with(|setup| setup.flag("--max-connections=1").flag("--head-timeout=1s"));
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x01\x00\x01\x00"] {
        let mut slow = Wire::open(world.control());
        slow.send(begun);
        // It has the only place, so that this one waits until it is cut off.
        assert_eq!(Secure::open(world.control(), &authority, &api()).ask(&templates()).status, 200);
        assert_eq!(slow.until_closed(Duration::from_secs(5)), b"", "{begun:?}");
    }
    // So has who has shaken hands and then says nothing.
    let mut silent = Secure::open(world.control(), &authority, &api());
    assert_eq!(silent.rest(), b"");
}

#[test]
fn who_does_not_finish_a_handshake_does_not_keep_the_gateway_from_ending() {
    let (authority, world) = world();
    let mut slow = Wire::open(world.control());
    slow.send(b"\x16\x03\x01");
    // Accepted before this one.
    assert_eq!(Secure::open(world.control(), &authority, &api()).ask(&templates()).status, 200);
    let since = Instant::now();
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
    // Far less than it may take to shake hands at other times.
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    assert_eq!(slow.until_closed(PATIENCE), b"");
}

#[test]
fn handshakes_are_counted_by_how_they_went() {
    let (authority, world) =
        world_with(|setup| setup.flag("--ops-listen=127.0.0.1:0").flag("--head-timeout=1s"));
    let other = Authority::new();
    assert_eq!(Secure::open(world.control(), &authority, &api()).ask(&templates()).status, 200);
    Secure::with(world.control(), client(&other, None), &api()).unwrap_err();
    crate::support::exchange(world.control(), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut late = Wire::open(world.control());
    late.send(b"\x16");
    assert_eq!(late.until_closed(PATIENCE), b"");
    // Whether the port is open is no handshake.
    drop(Wire::open(world.control()));
    Wire::open(world.control()).reset();
    let counted = || {
        let scrape = Scrape::of(&world.gateway, "");
        let count = |result| scrape.sum("tls_handshakes_total", &[("result", result)]);
        ["ok", "failed", "late", "not_tls"].map(count)
    };
    eventually("all are counted", PATIENCE, || counted() == [1.0; 4]);
}

#[test]
fn a_quiet_connection_is_parked_and_goes_on() {
    let trace = |setup: Setup| setup.env("COPPICE_LOG", "info,coppice_gateway=trace");
    let (authority, world) = world_with(trace);
    let mut client = Secure::open(world.control(), &authority, &api());
    for round in 1..=2 {
        assert_eq!(client.ask(&templates()).status, 200);
        world.gateway.wait_for_logs(round, &["is parked"]);
    }
    // In pieces, the head too.
    for byte in templates().kept_bytes(world.control()) {
        client.send(&[byte]).unwrap();
    }
    assert_eq!(client.answer().unwrap().status, 200);
    world.gateway.signal("TERM");
    assert_eq!(client.rest(), b"", "with a goodbye");
    assert_eq!(world.gateway.wait().code(), Some(0));
}

#[test]
fn check_tells_what_is_shown_and_what_is_wrong_with_it() {
    let authority = Authority::new();
    let (certificate, tls_key) = authority.issue("server", "DNS:gate.test,DNS:*.gate.test");
    let (other, _) = authority.issue("other", "DNS:other.test");
    let (ca, key) = (authority.file(), tls_key.to_str().unwrap());
    let check = |certificate: &PathBuf| {
        let program = Program::new()
            .env("COPPICE_UPSTREAM", "http://127.0.0.1:9")
            .env("COPPICE_API_KEYS", "team-a:k:read")
            .env("COPPICE_STATE_DIR", "/nowhere")
            .env("COPPICE_DOMAIN", "gate.test")
            .env("COPPICE_TLS_CLIENT_CA", ca.to_str().unwrap());
        program.run(&["check", "--tls-cert", certificate.to_str().unwrap(), "--tls-key", key])
    };
    let sound = check(&certificate);
    assert_eq!((sound.code, &*sound.err), (0, ""), "{sound:?}");
    assert!(sound.out.contains("\ntls\tgate.test *.gate.test until 20"), "{sound:?}");
    assert!(sound.out.contains("Z; client certificates required\n"), "{sound:?}");
    let wrong = check(&other);
    assert_eq!(wrong.code, 78);
    let said = format!("--tls-key: '{key}' holds a key that does not fit the certificate\n");
    assert_eq!(wrong.err, said);
}
