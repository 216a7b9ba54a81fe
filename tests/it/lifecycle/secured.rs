//! Upgrades of gateways that speak TLS, or begin to: what the new settings close is closed to kept connections too, and
//! nobody who keeps one is cut off in the midst.

use std::fs;
use std::path::PathBuf;

use coppice_gateway::simulator::Options;
use tempfile::TempDir;

use super::{Processes, is_alive};
use crate::support::authority::Authority;
use crate::support::gateway::Setup;
use crate::support::tls::{Secure, client};
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
