//! Who is spoken to: only those who prove the name that is expected of them, and whose word for it is taken.

use std::path::{Path, PathBuf};

use coppice_gateway::simulator::Simulator;

use super::endings::Ports;
use super::{NAMES, Trusted, listed, path, simulator, world};
use crate::support::authority::Authority;
use crate::support::gateway::Setup;
use crate::support::nginx::{Nginx, Seen};
use crate::support::{Ask, Program, Wire, World};

/// Fails with a gateway of this kind, without a request getting through, and says so everywhere.
fn assert_refused(world: &World, upstream: &Simulator, said: &str) {
    let answer = world.ask("admin", Ask::get("/v2/sandboxes"));
    assert_eq!(
        (answer.status, &*answer.json()["error_code"].to_string()),
        (502, "\"upstream_unreachable\""),
        "{said}"
    );
    assert!(
        !answer.text().contains("certificate"),
        "causes are not for clients: {}",
        answer.text()
    );
    world.gateway.wait_for_log(&["\"WARN\"", "could not connect: ", said]);
    assert!(upstream.requests().is_empty(), "{said}");
}

/// What `check --live` says of these upstreams.
fn assert_explained(nginx: &Nginx, flags: &[String], said: &str, advice: &str) {
    let (api, envd) =
        (format!("--upstream={}", nginx.api), format!("--envd-upstream={}", nginx.envd));
    let mut all = vec!["check", "--live", &api, &envd];
    all.extend(flags.iter().map(String::as_str));
    let ended = Program::new().env("COPPICE_API_KEYS", "team-a:k:read").run(&all);
    assert_eq!(ended.code, 1, "{ended:?}");
    for plane in [
        format!("the upstream: {}", nginx.api),
        format!("the data plane's upstream: {}", nginx.envd),
    ] {
        let line = ended.err.lines().find(|line| line.starts_with(&plane));
        let line = line.unwrap_or_else(|| panic!("nothing of {plane}: {ended:?}"));
        assert!(line.contains(said) && line.contains(advice), "{line}");
    }
}

#[test]
fn whoever_cannot_prove_who_it_is_is_told_nothing() {
    let (ours, other) = (Authority::new(), Authority::new());
    let good = ours.issue("good", NAMES);
    let misnamed = ours.issue("misnamed", "DNS:elsewhere.test,IP:127.0.0.2");
    let expired = ours.issue_expired("expired", NAMES);
    let untrusted = "its certificate is not from an authority that is trusted: ";
    for (certificate, trusted, said, advice) in [
        (&good, Some(other.file()), untrusted, "upstream.tls_ca"),
        (&good, None, untrusted, "upstream.tls_ca"),
        (
            &misnamed,
            Some(ours.file()),
            "its certificate is for another name: ",
            "upstream.tls_server_name",
        ),
        (
            &expired,
            Some(ours.file()),
            "its certificate has expired or is not valid yet: ",
            "renewed",
        ),
    ] {
        let simulator = simulator();
        let nginx = Nginx::tls(&simulator, certificate, "", "");
        let flags: Vec<_> = trusted.iter().map(|file| path("ca", file)).collect();
        for http2 in ["off", "on"] {
            let world = world(super::simulator(), &nginx.api, &nginx.envd, |setup| {
                let setup = setup.flag(format!("--upstream-http2={http2}"));
                flags.iter().fold(setup, Setup::flag)
            });
            assert_refused(&world, &simulator, said);
        }
        assert_explained(&nginx, &flags, said, advice);
    }
}

#[test]
fn an_authority_of_the_system_is_taken_at_its_word() {
    let (authority, simulator) = (Authority::new(), simulator());
    let nginx = Nginx::tls(&simulator, &authority.issue("server", NAMES), "", "");
    let (api, ca) = (nginx.api.clone(), authority.file());
    let world = world(simulator, &api, &nginx.envd, |setup| {
        setup.env("SSL_CERT_FILE", ca.to_str().unwrap())
    });
    assert_eq!(listed(&world), 200);
}

#[test]
fn another_name_can_be_asked_for() {
    let (authority, simulator) = (Authority::new(), simulator());
    let nginx = Nginx::tls(&simulator, &authority.issue("server", "DNS:*.envd.test"), "", "");
    let world = world(simulator, &nginx.api, &nginx.envd, |setup| {
        setup.flag(path("ca", &authority.file())).flag("--upstream-tls-server-name=any.envd.test")
    });
    assert_eq!(listed(&world), 200);
    assert_eq!(Seen::of(&world.simulator.requests().pop().unwrap()).name, "any.envd.test");
}

#[test]
fn the_host_of_the_url_is_asked_for_by_name() {
    let (authority, simulator) = (Authority::new(), simulator());
    let nginx = Nginx::tls(&simulator, &authority.issue("server", NAMES), "", "");
    let [api, envd] = [&nginx.api, &nginx.envd].map(|url| url.replace("127.0.0.1", "localhost"));
    let world = world(simulator, &api, &envd, |setup| setup.flag(path("ca", &authority.file())));
    assert_eq!(listed(&world), 200);
    assert_eq!(Seen::of(&world.simulator.requests().pop().unwrap()).name, "localhost");
}

#[test]
fn the_gateway_can_prove_who_it_is() {
    let (ours, other) = (Authority::new(), Authority::new());
    let simulator = simulator();
    let lines = format!("ssl_verify_client on; ssl_client_certificate {};", ours.file().display());
    let nginx = Nginx::tls(&simulator, &ours.issue("server", NAMES), "", &lines);
    let (good, bad) = (ours.issue("gateway", "DNS:g.test"), other.issue("gateway", "DNS:g.test"));
    let set = |setup: Setup, (certificate, key): &(PathBuf, PathBuf)| {
        setup.flag(path("client-cert", certificate)).flag(path("client-key", key))
    };
    for (client, expected) in [(None, 400), (Some(&bad), 400)] {
        // Another one's simulator, so that the one behind nginx is there for the next.
        let world = world(super::simulator(), &nginx.api, &nginx.envd, |setup| {
            let setup = setup.flag(path("ca", &ours.file()));
            client.into_iter().fold(setup, set)
        });
        assert_eq!(listed(&world), expected, "what nginx says to strangers");
    }
    assert!(simulator.requests().is_empty());
    let world = world(simulator, &nginx.api, &nginx.envd, |setup| {
        set(setup.flag(path("ca", &ours.file())), &good)
    });
    assert_eq!(listed(&world), 200);
}

#[test]
fn an_upstream_that_insists_on_a_certificate_is_told_of_in_the_log() {
    let ports = Ports::new(true);
    let server = ports.serve(1, |_, head| assert_eq!(head, ""));
    assert_eq!(ports.ask("/").send(ports.world.data()).status, 502);
    ports.world.gateway.wait_for_log(&["\"WARN\"", "received fatal alert: CertificateRequired"]);
    server.join().unwrap();
}

#[test]
fn what_speaks_no_tls_is_told_nothing() {
    let simulator = simulator();
    let [api, envd] =
        [simulator.api_url(), simulator.envd_url()].map(|url| url.replace("http://", "https://"));
    let world = world(simulator, &api, &envd, |setup| setup);
    assert_refused(&world, &world.simulator, "it did not agree upon TLS: ");
}

#[test]
fn a_reload_changes_whose_word_is_taken_for_new_connections() {
    let other = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let put = |from: &Path| std::fs::copy(from, &ca).unwrap();
    put(&other.file());
    // nginx ends every connection with its answer.
    let trusted = Trusted::new("", "keepalive_timeout 0;", |setup| {
        setup.without("--upstream-tls-ca").flag(path("ca", &ca))
    });
    let world = &trusted.world;
    assert_eq!(listed(world), 502);
    put(&trusted.authority.file());
    assert_eq!(listed(world), 502, "not before it is told to");
    world.gateway.reload();
    assert_eq!(listed(world), 200);
    std::fs::write(&ca, "nothing of use").unwrap();
    world.gateway.signal("HUP");
    world.gateway.wait_for_log(&["not reloaded", "holds no certificate"]);
    assert_eq!(listed(world), 200, "what was in force stays so");
    put(&other.file());
    world.gateway.reload();
    assert_eq!(listed(world), 502);
}

#[test]
fn a_reload_ends_trust_in_connections_that_are_kept() {
    let other = Authority::new();
    for (listen, http2) in [("", "off"), ("http2", "on")] {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let put = |from: &Path| std::fs::copy(from, &ca).unwrap();
        put(&other.file());
        let trusted = Trusted::new(listen, "", |setup| {
            let setup = setup.without("--upstream-tls-ca").flag(path("ca", &ca));
            setup.flag(format!("--upstream-http2={http2}"))
        });
        let world = &trusted.world;
        put(&trusted.authority.file());
        world.gateway.reload();
        let (sandbox, token) = world.create("exec");
        let stream = |chunks: usize| {
            let ask = Ask::get(&format!("/stream?chunks={chunks}&ms=50"));
            ask.header("X-Access-Token", &token)
                .header("E2b-Sandbox-Id", &sandbox)
                .header("E2b-Sandbox-Port", "8080")
        };
        let mut running = Wire::open(world.data());
        assert_eq!(running.start(&stream(40)).status, 200);
        assert_eq!((listed(world), listed(world)), (200, 200));
        put(&other.file());
        world.gateway.reload();
        for _ in 0..3 {
            assert_eq!(listed(world), 502, "{http2}");
            assert_eq!(stream(1).send(world.data()).status, 502, "{http2}");
        }
        // What had begun goes on to its end.
        let chunks = std::iter::from_fn(|| running.chunk()).count();
        assert_eq!(chunks, 40, "{http2}");
        put(&trusted.authority.file());
        world.gateway.reload();
        assert_eq!(listed(world), 200, "{http2}");
    }
}
