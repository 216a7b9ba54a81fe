//! Certificates and keys as an operator names them: what is wrong is told by setting and file, before anybody connects.

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, date_time_ymd};

use super::*;

/// A certificate for these names and its key, as PEM texts.
fn pair(names: &[&str], begins: i32, ends: i32) -> (String, String) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(begins, 1, 1);
    params.not_after = date_time_ymd(ends, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A gateway with this first pair.
fn with(certificate: &str, key: &str) -> Given {
    given(&[("COPPICE_API_KEYS", "a:k:read"), ("COPPICE_STATE_DIR", "/nowhere")])
        .file("one.pem", certificate)
        .file("one.key", key)
        .names("COPPICE_TLS_CERT", "one.pem")
        .names("COPPICE_TLS_KEY", "one.key")
}

fn sound() -> Given {
    let (certificate, key) = pair(&["one.test"], 2020, 2100);
    with(&certificate, &key)
}

/// The warnings, with the directory's name cut off.
fn warnings(given: &Given) -> Vec<String> {
    let directory = format!("{}/", given.directory.path().display());
    given.loads().warnings.iter().map(|warning| warning.replace(&directory, "")).collect()
}

#[test]
fn without_a_certificate_there_is_no_tls() {
    assert!(given(&[]).loads().settings.server.tls.is_none());
}

#[test]
fn pairs_come_from_flag_and_file_the_flags_first() {
    let (certificate, key) = pair(&["two.test", "*.two.test"], 2020, 2099);
    let given = sound().file("two.pem", certificate).file("two.key", key);
    let (two, two_key) = (given.path("two.pem"), given.path("two.key"));
    let table = format!("[[server.tls]]\ncert = {two:?}\nkey = {two_key:?}\n");
    let given = given.toml(&table);
    let loaded = given.loads();
    assert_eq!(loaded.warnings, [""; 0]);
    let offer = loaded.settings.server.tls.unwrap();
    let names: Vec<_> =
        offer.identities().iter().map(|one| one.certificate().names.join(" ")).collect();
    assert_eq!(names, ["one.test", "two.test *.two.test"]);
    let ends: Vec<_> =
        offer.ends().map(|(file, ends)| (file.to_owned(), ends.to_string())).collect();
    assert_eq!(
        ends,
        [
            (given.path("one.pem"), "2100-01-01T00:00:00Z".to_owned()),
            (two, "2099-01-01T00:00:00Z".to_owned())
        ]
    );
    assert!(offer.clients().is_none());
    let shown = format!("{offer:?}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
    // Without the first there are those of the file.
    let given = given.without("COPPICE_TLS_CERT").without("COPPICE_TLS_KEY");
    assert_eq!(given.loads().settings.server.tls.unwrap().identities().len(), 1);
}

#[test]
fn one_of_a_pair_needs_the_other() {
    for (name, problem) in [
        ("COPPICE_TLS_CERT", "COPPICE_TLS_KEY: needs --tls-cert beside it"),
        ("COPPICE_TLS_KEY", "COPPICE_TLS_CERT: needs --tls-key beside it"),
    ] {
        assert_eq!(sound().without(name).problems(), [problem]);
    }
    let file = sound().toml(
        "[[server.tls]]\ncert = 'x'\n[[server.tls]]\nkey = ''\ncrt = 'x'\n[[server.tls]]\ncert = 1\nkey = ['x']\n",
    );
    assert_eq!(
        file.problems(),
        [
            "gateway.toml:1:1: server.tls.key: is missing from this table",
            "gateway.toml:3:1: server.tls.cert: is missing from this table",
            "gateway.toml:4:7: server.tls.key: is empty; remove it or give it a value",
            "gateway.toml:5:1: server.tls.crt: unknown setting; there are cert and key",
            "gateway.toml:8:7: server.tls.key: takes one value, not an array",
        ]
    );
    for text in ["[server]\ntls = 'x'\n", "[server]\ntls = []\n", "[server.tls]\ncert = 'x'\n"] {
        let problems = given(&[]).toml(text).problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].ends_with(": server.tls: must be tables under [[server.tls]]"));
    }
}

#[test]
fn every_file_that_is_of_no_use_is_named() {
    let (certificate, key) = pair(&["one.test"], 2020, 2100);
    let (other, other_key) = pair(&["other.test"], 2020, 2100);
    let garbage = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    let broken_key = "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n";
    for (certificate, key, problem) in [
        ("", &*key, "COPPICE_TLS_CERT: 'one.pem' holds no certificate in PEM form"),
        (garbage, &key, "COPPICE_TLS_CERT: 'one.pem' holds a certificate that cannot be read"),
        (
            &format!("{certificate}{garbage}"),
            &key,
            "COPPICE_TLS_CERT: 'one.pem' holds a certificate that cannot be read",
        ),
        (&certificate, "", "COPPICE_TLS_KEY: 'one.key' holds no private key in PEM form"),
        (&certificate, broken_key, "COPPICE_TLS_KEY: 'one.key' holds a key that cannot be used"),
        (
            &certificate,
            &other_key,
            "COPPICE_TLS_KEY: 'one.key' holds a key that does not fit the certificate",
        ),
        // The certificate is the first of its chain.
        (
            &format!("{other}{certificate}"),
            &key,
            "COPPICE_TLS_KEY: 'one.key' holds a key that does not fit the certificate",
        ),
    ] {
        assert_eq!(with(certificate, key).problems(), [problem]);
    }
    let away = sound()
        .names("COPPICE_TLS_CERT", "away.pem")
        .names("COPPICE_TLS_KEY", "away.key")
        .names("COPPICE_TLS_CLIENT_CA", "away.ca");
    let gone = "cannot be read: No such file or directory (os error 2)";
    assert_eq!(
        away.problems(),
        [
            format!("COPPICE_TLS_CERT: 'away.pem' {gone}"),
            format!("COPPICE_TLS_CLIENT_CA: 'away.ca' {gone}"),
            format!("COPPICE_TLS_KEY: 'away.key' {gone}"),
        ]
    );
    let given = sound();
    let (path, key) = (given.path("one.pem"), given.path("one.key"));
    let twice = given.toml(&format!("[[server.tls]]\ncert = {path:?}\nkey = {key:?}\n"));
    assert_eq!(twice.problems(), ["gateway.toml:2:8: server.tls.cert: 'one.pem' is named twice"]);
}

#[test]
fn a_key_in_place_of_its_path_is_not_repeated() {
    let (_, key) = pair(&["one.test"], 2020, 2100);
    let given = sound().flag("tls-key", &key);
    assert_eq!(given.problems(), ["--tls-key: takes the path of a PEM file, not its text"]);
    let given = sound().toml(&format!("[[server.tls]]\ncert = 'x'\nkey = {key:?}\n"));
    assert_eq!(
        given.problems(),
        ["gateway.toml:3:7: server.tls.key: takes the path of a PEM file, not its text"]
    );
}

#[test]
fn keys_of_other_kinds_are_taken() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let params = CertificateParams::new(["one.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    assert!(with(&certificate, &key.serialize_pem()).loads().settings.server.tls.is_some());
}

#[test]
fn what_clients_would_refuse_is_warned_about() {
    for (names, begins, ends, warning) in [
        (&["a.test"][..], 2020, 2100, None),
        (&["a.test"], 2020, 2024, Some("ended at 2024-01-01T00:00:00Z: clients refuse it")),
        (
            &["a.test"],
            2099,
            2100,
            Some("begins at 2099-01-01T00:00:00Z only: clients refuse it until then"),
        ),
        (&[], 2020, 2100, Some("is for no DNS name: most clients refuse it")),
    ] {
        let (certificate, key) = pair(names, begins, ends);
        let expected: Vec<_> =
            warning.map(|said| format!("COPPICE_TLS_CERT: 'one.pem' {said}")).into_iter().collect();
        assert_eq!(warnings(&with(&certificate, &key)), expected);
    }
    // Of a chain, what ends first counts.
    let ((certificate, key), (intermediate, _)) =
        (pair(&["a.test"], 2020, 2100), pair(&["b.test"], 2020, 2024));
    let chain = with(&format!("{certificate}{intermediate}"), &key);
    assert!(warnings(&chain)[0].contains("ended at 2024-01-01"));

    let readable = sound();
    fs::set_permissions(readable.path("one.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        warnings(&readable),
        ["COPPICE_TLS_KEY: 'one.key' holds a private key and every user can read it"]
    );
}

#[test]
fn a_domain_whose_hosts_no_certificate_is_for_is_warned_about() {
    for (names, is_warned) in [
        (&["*.boxes.test"][..], false),
        (&["boxes.test", "*.boxes.test"], false),
        (&["boxes.test", "api.boxes.test"], true),
        (&["*.test"], true),
    ] {
        let (certificate, key) = pair(names, 2020, 2100);
        let warnings = warnings(&with(&certificate, &key).flag("domain", "boxes.test"));
        let expected = "no TLS certificate is for *.boxes.test: clients that look for sandboxes there refuse it";
        assert_eq!(warnings.iter().any(|warning| warning == expected), is_warned, "{names:?}");
    }
}

#[test]
fn whose_certificates_are_accepted() {
    let (authority, _) = pair(&["authority.test"], 2020, 2100);
    let given = || sound().file("ca.pem", &authority).names("COPPICE_TLS_CLIENT_CA", "ca.pem");
    let clients =
        |given: &Given| given.loads().settings.server.tls.unwrap().clients().cloned().unwrap();
    assert!(clients(&given()).are_required);
    assert!(clients(&given().flag("tls-client-auth", "required")).are_required);
    let optional = given()
        .flag("tls-client-auth", "optional")
        .flag("trusted-proxies", "10.0.0.0/8,cert:Edge.test");
    let (clients, server) = (clients(&optional), optional.loads().settings.server);
    assert!(!clients.are_required);
    assert_eq!(*clients.proxies, ["edge.test".into()]);
    assert_eq!(server.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);

    let needs = "needs --tls-client-ca beside it";
    let alone =
        sound().flag("tls-client-auth", "optional").flag("trusted-proxies", "cert:edge.test");
    assert_eq!(
        alone.problems(),
        [format!("--tls-client-auth: {needs}"), format!("--trusted-proxies: cert:NAME {needs}")]
    );
    let clear = given().without("COPPICE_TLS_CERT").without("COPPICE_TLS_KEY");
    assert_eq!(
        clear.problems(),
        ["COPPICE_TLS_CLIENT_CA: needs --tls-cert and --tls-key, or [[server.tls]], beside it"]
    );
    let either = given().flag("tls-client-auth", "no");
    assert_eq!(either.problems(), ["--tls-client-auth: 'no' is neither required nor optional"]);
    let broken = sound()
        .file("ca.pem", "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n")
        .names("COPPICE_TLS_CLIENT_CA", "ca.pem");
    assert_eq!(
        broken.problems(),
        ["COPPICE_TLS_CLIENT_CA: 'ca.pem' holds a certificate that cannot be read"]
    );
    let socket = given().flag("listen", "127.0.0.1:0,unix:/run/gate.sock");
    assert_eq!(
        warnings(&socket),
        [
            "--listen: unix:/run/gate.sock is in clear text and asks for no certificate: whoever may open it is let in"
        ]
    );
}

#[test]
fn the_files_are_read_alone_when_they_change() {
    let given = sound();
    let files = given.loads().settings.server.tls_files.unwrap();
    let (offer, warnings) = files.read().unwrap();
    assert_eq!((offer.identities().len(), warnings.len()), (1, 0));
    let is_as_it_was = || -> Vec<bool> {
        offer
            .sources()
            .iter()
            .map(|source| *source == crate::pem::Source::of(&source.path))
            .collect()
    };
    assert_eq!(is_as_it_was(), vec![true, true]);
    let (certificate, key) = pair(&["new.test"], 2020, 2100);
    let given = given.file("one.pem", certificate);
    assert_eq!(is_as_it_was(), vec![false, true]);
    let problems = files.read().unwrap_err();
    assert!(problems.to_string().ends_with("holds a key that does not fit the certificate"));
    let _given = given.file("one.key", key);
    let (offer, _) = files.read().unwrap();
    assert_eq!(*offer.identities()[0].certificate().names, ["new.test".into()]);
}
