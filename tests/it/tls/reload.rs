//! Certificates that change while the gateway runs: new connections see the new ones, open ones notice nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use coppice_gateway::simulator::Options;
use rustls::AlertDescription as Alert;

use super::{api, templates};
use crate::support::authority::Authority;
use crate::support::gateway::Setup;
use crate::support::tls::{Secure, alert, client, speaks};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Wire, World};

/// Where the gateway looks for its certificate, and who makes the ones that are put there.
struct Place {
    authority: Authority,
    pair: (PathBuf, PathBuf),
}

impl Place {
    fn new(name: &str) -> Self {
        let authority = Authority::new();
        let folder = authority.file();
        let pair = (folder.with_file_name("used.pem"), folder.with_file_name("used.key"));
        let place = Self { authority, pair };
        place.put(name);
        place
    }

    fn world(&self, change: impl FnOnce(Setup) -> Setup) -> World {
        let (certificate, key) = &self.pair;
        World::with(Options::default(), |setup| change(speaks(setup, (certificate, key))))
    }

    /// Puts a certificate for `name` there, with its key.
    fn put(&self, name: &str) {
        let (certificate, key) = self.authority.issue(name, &format!("DNS:{},DNS:{name}", api()));
        fs::rename(key, &self.pair.1).unwrap();
        fs::rename(certificate, &self.pair.0).unwrap();
    }

    /// What who connects now is shown.
    fn shown(&self, address: SocketAddr) -> String {
        let mut client = Secure::open(address, &self.authority, &api());
        // That the connection works; what is not for a sandbox is refused on the data plane.
        client.ask(&templates());
        client.shown().pop().unwrap()
    }
}

#[test]
fn a_signal_brings_in_new_certificates_for_new_connections_alone() {
    let place = Place::new("one.test");
    let world = place.world(|setup| setup);
    let mut old = Secure::open(world.control(), &place.authority, &api());
    assert_eq!(old.ask(&templates()).status, 200);
    // In the midst of a handshake.
    let mut begun = Wire::open(world.control());
    begun.send(b"\x16");
    for name in ["two.test", "three.test"] {
        place.put(name);
        world.gateway.reload();
        for address in [world.control(), world.control(), world.data()] {
            assert_eq!(place.shown(address), name);
        }
        assert_eq!(old.ask(&templates()).status, 200);
        assert_eq!(old.shown().pop().unwrap(), "one.test");
    }
    assert!(!begun.has_something());
}

#[test]
fn changed_files_are_noticed() {
    let place = Place::new("one.test");
    let world = place.world(|setup| setup);
    assert_eq!(place.shown(world.control()), "one.test");
    place.put("two.test");
    eventually("the new one is shown", PATIENCE, || place.shown(world.control()) == "two.test");
    let done = world.gateway.log().iter().filter(|line| line.contains("TLS was reloaded")).count();
    assert_eq!(done, 1);
}

#[test]
fn a_changed_file_brings_in_nothing_else() {
    let place = Place::new("one.test");
    let clients = Authority::new();
    let own = clients.issue("client", "DNS:client.test");
    let folder = place.authority.file();
    let config = folder.with_file_name("gateway.toml");
    let settings = |mode: &str| {
        let ca = clients.file();
        fs::write(
            &config,
            format!("[server]\ntls_client_ca = {ca:?}\ntls_client_auth = \"{mode}\"\n"),
        )
        .unwrap();
    };
    settings("required");
    let world = place.world(|setup| setup.env("COPPICE_CONFIG", config.to_str().unwrap()));
    let status = |own: Option<&(PathBuf, PathBuf)>| {
        let own = own.map(|(certificate, key)| (&**certificate, &**key));
        let client = Secure::with(world.control(), client(&place.authority, own), &api());
        let mut client = client.map_err(|why| alert(&why))?;
        let answer = client.try_ask(&templates()).map_err(|why| alert(&why))?;
        Ok((answer.status, client.shown().pop().unwrap()))
    };
    let refused = Err(Alert::CertificateRequired);
    assert_eq!(status(None), refused);
    // Nobody has asked for these to be in force.
    for (round, (mode, name)) in
        [("optional", "two.test"), ("no such mode", "three.test")].into_iter().enumerate()
    {
        settings(mode);
        place.put(name);
        world.gateway.wait_for_logs(round + 1, &["TLS was reloaded"]);
        assert_eq!(status(Some(&own)), Ok((200, name.to_owned())));
        assert_eq!(status(None), refused, "{mode}");
    }
}

#[test]
fn a_reload_says_what_a_start_would() {
    let place = Place::new("one.test");
    let world = place.world(|setup| setup);
    let names = format!("DNS:{},DNS:old.test", api());
    let (certificate, key) = place.authority.issue_expired("old", &names);
    // In one go, so that only the signal has it read.
    world.gateway.signal("STOP");
    fs::rename(key, &place.pair.1).unwrap();
    fs::rename(certificate, &place.pair.0).unwrap();
    world.gateway.signal("HUP");
    world.gateway.signal("CONT");
    world.gateway.wait_for_log(&["\"WARN\"", "ended at 2020-02-01T00:00:00Z: clients refuse it"]);
    world.gateway.wait_for_log(&["\"reloaded; settings"]);
    let log = world.gateway.log();
    assert!(!log.iter().any(|line| line.contains("TLS was reloaded")), "not by the signal");
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let place = Place::new("one.test");
    let world = place.world(|setup| setup);
    let (certificate, key) = place.authority.issue("other", &format!("DNS:{}", api()));
    let spoilt: [(&Path, &[u8]); 4] = [
        (&place.pair.0, b""),
        (&place.pair.0, &fs::read(&certificate).unwrap()),
        (&place.pair.1, b"-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n"),
        (&place.pair.1, &fs::read(&key).unwrap()),
    ];
    for (round, (file, text)) in spoilt.into_iter().enumerate() {
        let sound = fs::read(file).unwrap();
        fs::write(file, text).unwrap();
        world.gateway.signal("HUP");
        world.gateway.wait_for_logs(round + 1, &["\"ERROR\"", "\"not reloaded;", "used."]);
        assert_eq!(place.shown(world.control()), "one.test");
        fs::write(file, sound).unwrap();
    }
    place.put("two.test");
    world.gateway.reload();
    assert_eq!(place.shown(world.control()), "two.test");
    let log = world.gateway.log().join("\n");
    assert!(!log.contains("PRIVATE") && !log.contains("AQID"), "{log}");
    // Without a signal, once.
    fs::remove_file(&place.pair.1).unwrap();
    world.gateway.wait_for_log(&["\"ERROR\"", "TLS was not reloaded", "cannot be read"]);
    assert_eq!(place.shown(world.control()), "two.test");
    place.put("three.test");
    eventually("the new one is shown", PATIENCE, || place.shown(world.control()) == "three.test");
}

#[test]
fn who_was_let_in_by_another_authority_has_to_prove_it_anew() {
    let place = Place::new("one.test");
    let (ours, other) = (Authority::new(), Authority::new());
    let accepted = place.authority.file().with_file_name("clients.pem");
    fs::copy(ours.file(), &accepted).unwrap();
    let world = place.world(|setup| setup.flag(format!("--tls-client-ca={}", accepted.display())));
    let (certificate, key) = ours.issue("client", "DNS:client.test");
    // Remembers its sessions.
    let config = client(&place.authority, Some((&certificate, &key)));
    let comes_in = || {
        let client = Secure::with(world.control(), config.clone(), &api());
        client.and_then(|mut client| client.try_ask(&templates())).is_ok()
    };
    assert!(comes_in() && comes_in());
    fs::copy(other.file(), &accepted).unwrap();
    world.gateway.reload();
    assert!(!comes_in() && !comes_in());
    fs::copy(ours.file(), &accepted).unwrap();
    world.gateway.reload();
    assert!(comes_in());
}

#[test]
fn tls_neither_comes_nor_goes_with_a_reload() {
    let place = Place::new("one.test");
    let config = place.authority.file().with_file_name("gateway.toml");
    let table = format!("[[server.tls]]\ncert = {:?}\nkey = {:?}\n", place.pair.0, place.pair.1);
    fs::write(&config, &table).unwrap();
    let configured = |setup: Setup| setup.env("COPPICE_CONFIG", config.to_str().unwrap());
    let secure = World::with(Options::default(), configured);
    fs::write(&config, "").unwrap();
    let clear = World::with(Options::default(), configured);
    secure.gateway.signal("HUP");
    secure.gateway.wait_for_log(&["\"ERROR\"", "not reloaded; TLS comes or goes with a restart"]);
    assert_eq!(place.shown(secure.control()), "one.test");
    fs::write(&config, &table).unwrap();
    clear.gateway.signal("HUP");
    clear.gateway.wait_for_log(&["\"ERROR\"", "not reloaded; TLS comes or goes with a restart"]);
    assert_eq!(clear.ask("read", crate::support::Ask::get("/templates")).status, 200);
}
