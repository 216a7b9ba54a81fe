//! Upgrades of gateways that speak TLS, or begin to: what the new settings close is closed to kept connections too, and
//! nobody who keeps one is cut off in the midst.

use std::fs;
use std::path::PathBuf;

use coppice_gateway::simulator::Options;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tempfile::TempDir;

use super::succession::whoami;
use super::{Processes, is_alive};
use crate::support::authority::Authority;
use crate::support::gateway::Setup;
use crate::support::tls::{Secure, client, speaks};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{DOMAIN, key};
use crate::support::{Ask, Wire, World};

/// A world with a settings file, and that file.
fn configured(text: &str, change: impl FnOnce(Setup) -> Setup) -> (World, PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, text).unwrap();
    let world = World::with(Options::default(), |setup| {
        change(setup.env("COPPICE_CONFIG", file.to_str().unwrap()))
    });
    (world, file, folder)
}

/// Has the next process take the place, and waits until the one before has nothing left.
fn upgrade_whole(processes: &Processes<'_>) {
    let before = processes.current();
    processes.upgrade();
    eventually("the old process has nothing left", PATIENCE, || !is_alive(before));
}

fn templates() -> Ask {
    Ask::get("/templates").key(&key("read"))
}

#[test]
fn kept_connections_in_clear_do_not_get_past_tls() {
    let (world, file, _folder) = configured("", |setup| setup);
    let processes = Processes::of(&world.gateway);
    let (mut used, mut fresh) = (Wire::open(world.control()), Wire::open(world.control()));
    let mut data = Wire::open(world.data());
    assert_eq!(used.ask(&templates()).status, 200);
    let reached = world.simulator.requests().len();
    let authority = Authority::new();
    let (certificate, own_key) = authority.issue("server", &format!("DNS:{DOMAIN}"));
    let settings = format!(
        "[server]\ntls_cert = {certificate:?}\ntls_key = {own_key:?}\ntls_client_ca = {:?}\n",
        authority.file()
    );
    fs::write(file, settings).unwrap();
    upgrade_whole(&processes);
    for wire in [&mut used, &mut fresh, &mut data] {
        assert!(wire.try_ask(&templates()).is_none());
    }
    assert_eq!(world.simulator.requests().len(), reached);
    let config = client(&authority, Some((&certificate, &own_key)));
    let mut client = Secure::with(world.control(), config, DOMAIN).unwrap();
    assert_eq!(client.ask(&templates().host(DOMAIN)).status, 200);
}

#[test]
fn kept_connections_through_what_means_something_else_now_are_closed() {
    let all = r#"envd_listen = ["127.0.0.1:0=*", "127.0.0.1:0=49983", "127.0.0.1:0=49999"]"#;
    let (world, file, _folder) =
        configured(&format!("[server]\n{all}\n"), |setup| setup.without("--envd-listen="));
    let processes = Processes::of(&world.gateway);
    let addresses =
        ["control plane", "port=*", "port=49983"].map(|what| world.gateway.address(what));
    let open = || {
        addresses.map(|address| {
            let mut wire = Wire::open(address);
            wire.ask(&Ask::get("/health"));
            wire
        })
    };
    let answers = |wire: &mut Wire| wire.try_ask(&Ask::get("/health")).is_some();
    let mut kept = open();
    upgrade_whole(&processes);
    assert!(kept.iter_mut().all(answers), "nothing has changed");
    // What the control plane's port is, and which ports there are.
    let one = r#"envd_listen = ["127.0.0.1:0=*"]"#;
    fs::write(file, format!("[server]\none_port = false\n{one}\n")).unwrap();
    upgrade_whole(&processes);
    assert_eq!(kept.each_mut().map(answers), [false, true, false]);
}

#[test]
fn a_kept_connection_in_tls_has_one_more_answer() {
    let authority = Authority::new();
    let (certificate, own_key) = authority.issue("server", &format!("DNS:{DOMAIN}"));
    let world = World::with(Options::default(), |setup| {
        speaks(setup, (&certificate, &own_key)).env("COPPICE_LOG", "info,coppice_gateway=trace")
    });
    let processes = Processes::of(&world.gateway);
    let open = || Secure::open(world.control(), &authority, DOMAIN);
    let ask = whoami().host(DOMAIN);
    // One that was parked, one that talked just now, and one that never did.
    let (mut parked, mut recent, mut fresh) = (open(), open(), open());
    assert_eq!(parked.ask(&ask).status, 200);
    world.gateway.wait_for_log(&["is parked"]);
    assert_eq!(recent.ask(&ask).status, 200);
    processes.upgrade();
    for (name, client) in [("parked", &mut parked), ("recent", &mut recent), ("fresh", &mut fresh)]
    {
        let answer = client.try_ask(&ask).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{name}");
        assert_eq!(client.rest(), b"", "{name}");
    }
    eventually("only the new process is left", PATIENCE, || processes.alive().len() == 1);
    assert_eq!(open().ask(&ask).status, 200);
}

#[test]
fn a_quiet_connection_in_tls_does_not_keep_a_replaced_process_from_ending() {
    let authority = Authority::new();
    let (certificate, own_key) = authority.issue("server", &format!("DNS:{DOMAIN}"));
    let speaks = |setup| speaks(setup, (&certificate, &own_key));
    // When its time is up, or with the signal to the process that is in place.
    for (flag, is_told) in [("--idle-timeout=1s", false), ("--idle-timeout=600s", true)] {
        let world = World::with(Options::default(), |setup| speaks(setup).flag(flag));
        let processes = Processes::of(&world.gateway);
        let mut quiet = Secure::open(world.control(), &authority, DOMAIN);
        assert_eq!(quiet.ask(&whoami().host(DOMAIN)).status, 200);
        processes.upgrade();
        if is_told {
            assert_eq!(processes.alive().len(), 2);
            processes.signal("TERM");
        }
        assert_eq!(quiet.rest(), b"", "with a goodbye");
        eventually("the old process ends", PATIENCE, || !is_alive(world.gateway.id()));
    }
}

#[test]
fn who_finishes_a_handshake_late_may_still_ask() {
    let authority = Authority::new();
    let (certificate, own_key) = authority.issue("server", &format!("DNS:{DOMAIN}"));
    for is_upgrade in [false, true] {
        let world = World::with(Options::default(), |setup| {
            speaks(setup.without("--workers").flag("--workers=1"), (&certificate, &own_key))
        });
        let processes = Processes::of(&world.gateway);
        let name = ServerName::try_from(DOMAIN).unwrap();
        let mut session = ClientConnection::new(client(&authority, None).into(), name).unwrap();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        let mut socket = std::net::TcpStream::connect(world.control()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::Write::write_all(&mut socket, &hello[..1]).unwrap();
        // Accepted after it.
        let mut other = Secure::open(world.control(), &authority, DOMAIN);
        assert_eq!(other.ask(&whoami().host(DOMAIN)).status, 200);
        if is_upgrade {
            processes.upgrade();
        } else {
            processes.signal("TERM");
            world.gateway.wait_for_log(&["draining: no new connections"]);
        }
        std::io::Write::write_all(&mut socket, &hello[1..]).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        let mut late = StreamOwned::new(session, socket);
        // Not with the handshake: that is through, and nothing was asked.
        eventually("both ends know", PATIENCE, || !late.conn.wants_write());
        let request = whoami().host(DOMAIN).kept_bytes(world.control());
        std::io::Write::write_all(&mut late, &request).unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut late, &mut answer).unwrap();
        let answer = crate::support::Answer::parse(&answer);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
}
