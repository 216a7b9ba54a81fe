//! TLS towards upstreams: what proves identities, and what stops the start.

use super::callback::{CERTIFICATE, HOLLOW, KEY, OTHER_KEY};
use super::{Given, given};

const CA: &str = "COPPICE_UPSTREAM_TLS_CA";
const CERT: &str = "COPPICE_UPSTREAM_TLS_CLIENT_CERT";
const OWN_KEY: &str = "COPPICE_UPSTREAM_TLS_CLIENT_KEY";
const NAME: &str = "COPPICE_UPSTREAM_TLS_SERVER_NAME";

/// A gateway before an upstream with TLS, and all the files that can be named.
fn with_tls(ca: &str, certificate: &str, key: &str) -> Given {
    given(&[("COPPICE_UPSTREAM", "https://up")])
        .file("ca", ca)
        .file("cert", certificate)
        .file("key", key)
        .names(CA, "ca")
        .names(CERT, "cert")
        .names(OWN_KEY, "key")
}

#[test]
fn everything_about_tls_is_read() {
    let given =
        with_tls(&CERTIFICATE.repeat(2), CERTIFICATE, KEY).flag("upstream-tls-server-name", "a.b");
    let upstream = given.loads().settings.upstream;
    assert!(upstream.tls.server_name.is_some());
    let address = upstream.url.address(&upstream.tls);
    assert_eq!(address.to_string(), "https://up", "the name is asked of it, but not where it is");
    for name in ["[::1]", "127.0.0.1", "*.a"] {
        let named = with_tls(CERTIFICATE, CERTIFICATE, KEY).flag("upstream-tls-server-name", name);
        match name {
            "*.a" => assert_eq!(named.problems().len(), 1, "{name}"),
            _ => assert!(named.loads().settings.upstream.tls.server_name.is_some(), "{name}"),
        }
    }
}

#[test]
fn an_upstream_of_the_data_plane_is_reason_enough() {
    for envd in ["https://e", "49983=https://e,*=unix:/run/e.sock"] {
        let given =
            given(&[("COPPICE_ENVD_UPSTREAM", envd)]).file("ca", CERTIFICATE).names(CA, "ca");
        assert_eq!(
            given.loads().settings.upstream.envd.iter().filter(|url| url.is_tls()).count(),
            1
        );
    }
}

#[test]
fn nothing_about_tls_is_passed_over_in_silence() {
    for upstream in ["http://up", "unix:/run/up.sock"] {
        let given = given(&[("COPPICE_UPSTREAM", upstream), (NAME, "a.b")])
            .file("pem", format!("{CERTIFICATE}{KEY}"))
            .names(CA, "pem")
            .names(CERT, "pem")
            .names(OWN_KEY, "pem");
        let needs = |name: &str| format!("{name}: needs an https:// upstream beside it");
        assert_eq!(given.problems(), [CA, CERT, OWN_KEY, NAME].map(needs));
    }
    let url = given(&[("COPPICE_UPSTREAM", "https://canary:0"), (NAME, "a.b")]);
    assert_eq!(url.problems(), ["COPPICE_UPSTREAM: has no usable host and port"]);
}

#[test]
fn files_and_names_that_cannot_be_used() {
    let ca = "COPPICE_UPSTREAM_TLS_CA: the file holds";
    let pair = "COPPICE_UPSTREAM_TLS_CLIENT_CERT: the file does not fit the key";
    for (authority, certificate, key, said) in [
        (KEY, CERTIFICATE, KEY, ca),
        (HOLLOW, CERTIFICATE, KEY, ca),
        (CERTIFICATE, CERTIFICATE, OTHER_KEY, pair),
        (CERTIFICATE, HOLLOW, KEY, pair),
        (CERTIFICATE, CERTIFICATE, "canary", "COPPICE_UPSTREAM_TLS_CLIENT_KEY: the file holds no"),
    ] {
        let problems = with_tls(authority, certificate, key).problems();
        assert!(problems.len() == 1 && problems[0].starts_with(said), "{problems:?}");
    }
    let base = [("COPPICE_UPSTREAM", "https://up")];
    for (name, value, said) in [
        (CA, "/nowhere/canary", "the file cannot be read: No such file or directory (os error 2)"),
        (CERT, "/dev/null", "needs COPPICE_UPSTREAM_TLS_CLIENT_KEY beside it"),
        (OWN_KEY, "/dev/null", "needs COPPICE_UPSTREAM_TLS_CLIENT_CERT beside it"),
        (NAME, "canary:443", "is neither the name of a host nor an IP address"),
        (NAME, "*.canary", "is neither the name of a host nor an IP address"),
        (NAME, "a canary", "is neither the name of a host nor an IP address"),
        (NAME, "https://canary", "is neither the name of a host nor an IP address"),
    ] {
        let problems = given(&[&base[..], &[(name, value)]].concat()).problems();
        assert_eq!(problems, [format!("{name}: {said}")]);
    }
}
