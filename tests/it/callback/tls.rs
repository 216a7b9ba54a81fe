//! The service by TLS: it must prove to be who the URL says, and may ask the gateway for the same.

use std::path::Path;

use super::{one_worker, status, world_with};
use crate::support::World;
use crate::support::authority::Authority;
use crate::support::callback::{Reply, Scripted};

fn world(service: &Scripted, files: &[(&str, &Path)]) -> World {
    world_with(service, |setup| {
        files.iter().fold(setup.env("AUTH_CALLBACK_TIMEOUT", "2s"), |setup, (name, path)| {
            setup.env(name, path.to_str().unwrap())
        })
    })
}

#[test]
fn a_name_counts_when_a_known_authority_vouches_for_it() {
    let (ours, other) = (Authority::new(), Authority::new());
    for (name, trusted, expected) in [
        ("IP:127.0.0.1", Some(&ours), 200),
        ("IP:127.0.0.1", Some(&other), 500),
        ("IP:127.0.0.1", None, 500),
        ("IP:127.0.0.2", Some(&ours), 500),
        ("DNS:elsewhere.test", Some(&ours), 500),
    ] {
        let service = Scripted::with_tls(ours.server(name, false), Reply::allow());
        let file = trusted.map(Authority::file);
        let files: Vec<_> = file.iter().map(|file| ("AUTH_CALLBACK_CA", file.as_path())).collect();
        let world = world(&service, &files);
        assert_eq!(status(&world, "key"), expected, "{name}");
        assert_eq!(service.count(), usize::from(expected == 200), "{name}");
        assert_eq!(world.simulator.requests().is_empty(), expected != 200, "{name}");
    }
}

#[test]
fn the_gateway_can_prove_who_it_is() {
    let (ours, other) = (Authority::new(), Authority::new());
    let service = Scripted::with_tls(ours.server("IP:127.0.0.1", true), Reply::allow());
    let ca = ours.file();
    let (good, good_key) = ours.issue("gateway", "DNS:gateway.test");
    let (bad, bad_key) = other.issue("gateway", "DNS:gateway.test");
    for (client, expected) in
        [(None, 500), (Some((&bad, &bad_key)), 500), (Some((&good, &good_key)), 200)]
    {
        let mut files = vec![("AUTH_CALLBACK_CA", ca.as_path())];
        if let Some((certificate, key)) = client {
            files.push(("AUTH_CALLBACK_CLIENT_CERT", certificate.as_path()));
            files.push(("AUTH_CALLBACK_CLIENT_KEY", key.as_path()));
        }
        let world = world(&service, &files);
        assert_eq!(status(&world, "key"), expected, "{client:?}");
    }
    assert_eq!(service.count(), 1);
}

#[test]
fn a_reload_ends_trust_in_connections_that_are_kept() {
    let (ours, other) = (Authority::new(), Authority::new());
    let service = Scripted::with_tls(ours.server("IP:127.0.0.1", false), Reply::allow());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::copy(ours.file(), &ca).unwrap();
    let world = world_with(&service, |setup| {
        one_worker(setup).env("AUTH_CALLBACK_CA", ca.to_str().unwrap())
    });
    assert_eq!(status(&world, "key"), 200);
    std::fs::copy(other.file(), &ca).unwrap();
    world.gateway.reload();
    assert_eq!(status(&world, "key"), 500);
    assert_eq!(service.count(), 1);
}
