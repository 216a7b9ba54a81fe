//! The auth callback: what turns it on, what stops the start, and that nothing about it opens a gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::{Given, given};
use crate::callback::{self, CacheBy, Passed, WhenUnavailable};
use crate::config::{Decisive, Settings, load_keys};

const URL: (&str, &str) = ("AUTH_CALLBACK_URL", "https://auth.test/verify?tok=canary");

// Made for these tests: an Ed25519 certificate, its key, and another one's.
pub(super) const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBLzCB4qADAgECAhRPhTDJ3DLWArg0eNMo5nzStccTPTAFBgMrZXAwDjEMMAoG\n\
    A1UEAwwDb25lMCAXDTI2MTEyMjA5MjAxMloYDzIxMjYxMDI5MDkyMDEyWjAOMQww\n\
    CgYDVQQDDANvbmUwKjAFBgMrZXADIQDqcnZrUW8H2FXCphqgW31RXMLinzapNJXj\n\
    Xd8Y7yQM9aNQME4wHQYDVR0OBBYEFBr6PR+jgqviawW7DXSibcRkIE1mMB8GA1Ud\n\
    IwQYMBaAFBr6PR+jgqviawW7DXSibcRkIE1mMAwGA1UdEwQFMAMBAf8wBQYDK2Vw\n\
    A0EAQ3MZ+2rdOhGshwKDQEblok5dsZ1GefBwFPZb78VU2Cf7SUeFdVp6iVl0IuNc\n\
    8S62xijpuEKaYgcOMMB5r5FNBA==\n\
    -----END CERTIFICATE-----\n";
pub(super) const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJFTcs7OTX4jmZmWQPjuX5wnvMtYswVl9FRBnUPz9v8D\n\
    -----END PRIVATE KEY-----\n";
pub(super) const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIOaprE7pb6kDA5ertIxH6RQeCg1PVAPJE6bKrrx+oSjU\n\
    -----END PRIVATE KEY-----\n";
/// PEM on the outside, nothing within.
pub(super) const HOLLOW: &str = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";

/// A gateway with a callback, and further variables.
fn with(variables: &[(&str, &str)]) -> Given {
    given(&[&[URL], variables].concat())
}

#[track_caller]
fn callback(given: &Given) -> callback::Settings {
    given.loads().settings.auth.callback.expect("a callback")
}

/// The warnings that are about the callback or about being open.
#[track_caller]
fn warnings(given: &Given) -> Vec<String> {
    let mut warnings = given.loads().warnings;
    warnings.retain(|warning| !warning.starts_with("neither COPPICE_SECRET"));
    warnings
}

#[test]
fn an_address_is_all_it_needs() {
    let given = with(&[("COPPICE_LISTEN", "0.0.0.0:3000")]);
    let auth = given.loads().settings.auth;
    assert!(!auth.is_open() && !auth.has_keys);
    assert_eq!(warnings(&given), [""; 0]);
    let set = auth.callback.unwrap();
    assert_eq!(set.url.expose().as_str(), URL.1);
    let seconds = |seconds| Duration::from_secs(seconds);
    assert_eq!((set.timeout, set.connect_timeout), (seconds(5), seconds(1)));
    assert_eq!((set.pass, set.when_unavailable), (Passed::default(), WhenUnavailable::default()));
    assert_eq!((set.cache_ttl, set.stale_if_error), (Duration::ZERO, Duration::ZERO));
    assert_eq!((set.cache_by, set.max_calls.get()), (CacheBy::Request, 64));
    assert_eq!((set.client_budget.get(), set.breaker_failures.get()), (100, 5));
    assert_eq!(set.breaker_pause, seconds(1));
    let default = set.default;
    assert_eq!((default.tenant.as_str(), &*default.name), ("callback", "callback"));
    assert_eq!(default.scopes.to_string(), "admin|exec|owner|read");
    assert_eq!(set.state_dir, None);
}

#[test]
fn every_setting_is_read() {
    let given = given(&[("COPPICE_STATE_DIR", "/var/lib/x")])
        .file("pem", format!("{CERTIFICATE}{CERTIFICATE}"))
        .file("key", KEY)
        .names("AUTH_CALLBACK_CA", "pem")
        .names("AUTH_CALLBACK_CLIENT_CERT", "pem")
        .names("AUTH_CALLBACK_CLIENT_KEY", "key")
        .flag("auth-callback-max-calls", "8")
        .toml(
            "[auth.callback]\nurl = 'http://127.0.0.1:9/'\ntimeout = 2\nconnect_timeout = '300ms'\n\
             pass_status = [403, '429']\nunavailable_status = 503\ncache_ttl = '1m'\n\
             cache_by = 'credential'\nstale_if_error = '24h'\nmax_calls = 9\nclient_budget = 7\n\
             breaker_failures = 3\nbreaker_pause = '60s'\ndefault_tenant = 'guests'\n\
             default_name = 'Some One'\ndefault_scopes = ['read|exec', 'read']\n",
        );
    let set = callback(&given);
    assert_eq!(set.url.to_string(), "http://127.0.0.1:9/");
    assert_eq!((set.timeout.as_millis(), set.connect_timeout.as_millis()), (2000, 300));
    assert_eq!(set.pass, Passed { forbidden: true, rate_limited: true });
    assert_eq!(set.when_unavailable, WhenUnavailable::ServiceUnavailable);
    assert_eq!((set.cache_ttl.as_secs(), set.stale_if_error.as_secs()), (60, 86_400));
    assert_eq!((set.cache_by, set.max_calls.get()), (CacheBy::Credential, 8));
    assert_eq!((set.client_budget.get(), set.breaker_failures.get()), (7, 3));
    assert_eq!(set.breaker_pause.as_secs(), 60);
    assert_eq!((set.default.tenant.as_str(), &*set.default.name), ("guests", "Some One"));
    assert_eq!(set.default.scopes.to_string(), "exec|read");
    assert_eq!(set.state_dir.unwrap().to_str(), Some("/var/lib/x"));
}

#[test]
fn a_bad_address_stops_the_start_and_is_not_told() {
    for (address, why) in [
        ("canary", "is no whole URL; write http://HOST:PORT/PATH or https://HOST/PATH"),
        ("canary:9/verify", "must start with http:// or https://"),
        ("ftp://canary", "must start with http:// or https://"),
        ("http://canary:0", "has no usable host and port"),
        (
            "http://x/ http://canary",
            "is no whole URL; write http://HOST:PORT/PATH or https://HOST/PATH",
        ),
    ] {
        // Where everybody could reach it, too: that it may not be open is not what is wrong.
        for more in [("COPPICE_LISTEN", "0.0.0.0:3000"), ("AUTH_CALLBACK_CACHE_TTL", "5s")] {
            let given = given(&[("AUTH_CALLBACK_URL", address), more]);
            assert_eq!(given.problems(), [format!("AUTH_CALLBACK_URL: {why}")]);
            assert!(Decisive::load(&given.sources).is_err());
        }
    }
    let overruled = given(&[("AUTH_CALLBACK_URL", "")]).flag("auth-callback-url", URL.1);
    assert_eq!(overruled.problems(), ["AUTH_CALLBACK_URL: is empty; remove it or give it a value"]);
    let file = given(&[]).file("url", "\n").names("AUTH_CALLBACK_URL_FILE", "url");
    assert_eq!(file.problems(), ["AUTH_CALLBACK_URL_FILE: the file is empty"]);
}

#[test]
fn values_out_of_bounds_stop_the_start() {
    for (name, value, why) in [
        ("TIMEOUT", "0", "'0' is out of range: it must be from 1ms to 60s"),
        ("TIMEOUT", "61s", "'61s' is out of range: it must be from 1ms to 60s"),
        (
            "CONNECT_TIMEOUT",
            "soon",
            "'soon' is no duration; write a whole number with ms, s, m or h",
        ),
        ("PASS_STATUS", "403,404", "'404' is neither 403 nor 429"),
        ("PASS_STATUS", "403,", "an item of the list is empty"),
        ("UNAVAILABLE_STATUS", "200", "'200' is neither 500 nor 503"),
        ("CACHE_TTL", "61s", "'61s' is out of range: it must be from 0ns to 60s"),
        ("CACHE_BY", "path", "'path' is neither request nor credential"),
        ("STALE_IF_ERROR", "25h", "'25h' is out of range: it must be from 0ns to 86400s"),
        ("MAX_CALLS", "0", "'0' is no whole number from 1 to 100000"),
        ("CLIENT_BUDGET", "0", "'0' is no whole number from 1 to 4294967295"),
        ("BREAKER_FAILURES", "-1", "'-1' is no whole number from 1 to 4294967295"),
        ("BREAKER_PAUSE", "2m", "'2m' is out of range: it must be from 1ms to 60s"),
        ("DEFAULT_TENANT", "*", "the tenant '*' is reserved for limits"),
        ("DEFAULT_NAME", "a\tb", "is longer than 128 bytes or holds a control character"),
        (
            "DEFAULT_NAME",
            &"\u{8a9e}".repeat(43),
            "is longer than 128 bytes or holds a control character",
        ),
        ("DEFAULT_SCOPES", "read|write", "unknown scope 'write' (known: read, exec, owner, admin)"),
        ("DEFAULT_SCOPES", "read|", "unknown scope '' (known: read, exec, owner, admin)"),
    ] {
        let name = format!("AUTH_CALLBACK_{name}");
        assert_eq!(with(&[(&name, value)]).problems(), [format!("{name}: {why}")]);
    }
}

#[test]
fn nothing_of_it_goes_without_an_address() {
    let needs = "needs --auth-callback-url or AUTH_CALLBACK_URL beside it";
    for keys in [&[][..], &[("COPPICE_API_KEYS", "a:k:read")]] {
        let given = given(&[keys, &[("AUTH_CALLBACK_CACHE_TTL", "5s")]].concat())
            .flag("auth-callback-timeout", "5s")
            .toml("[auth.callback]\nmax_calls = 1\n");
        assert_eq!(
            given.problems(),
            [
                format!("--auth-callback-timeout: {needs}"),
                format!("gateway.toml:2:13: auth.callback.max_calls: {needs}"),
                format!("AUTH_CALLBACK_CACHE_TTL: {needs}"),
            ]
        );
        assert!(Decisive::load(&given.sources).is_err());
    }
}

#[test]
fn a_misspelt_name_stops_the_start() {
    for (name, hint) in [
        ("AUTH_CALLBACK_TTL", "; did you mean AUTH_CALLBACK_CACHE_TTL?"),
        ("AUTH_CALLBACK_ULR", "; did you mean AUTH_CALLBACK_URL?"),
        ("AUTH_CALLBACKURL", "; did you mean AUTH_CALLBACK_URL?"),
        ("COPPICE_AUTH_CALLBACK_URL", "; did you mean AUTH_CALLBACK_URL?"),
        ("AUTH_CALLBACK_FROBNICATION", ""),
    ] {
        for value in ["", "canary"] {
            let problems = [format!("{name}: no such setting{hint}")];
            assert_eq!(given(&[(name, value)]).problems(), problems);
            assert_eq!(with(&[(name, value)]).problems(), problems);
        }
    }
    assert_eq!(
        given(&[]).toml("[auth.callback]\nurl = 'http://[::1]/'\nttl = 5\n").problems(),
        [
            "gateway.toml:3:1: auth.callback.ttl: unknown setting; did you mean auth.callback.cache_ttl?"
        ]
    );
    assert_eq!(
        given(&[]).toml("[auth]\ncallback = 'http://canary'\n").problems(),
        ["gateway.toml:2:1: auth.callback: must be a table"]
    );
}

#[test]
fn the_address_may_be_a_flag_or_a_file() {
    let flag = given(&[]).flag("auth-callback-url", URL.1);
    assert_eq!(callback(&flag).url.expose().as_str(), URL.1);
    assert_eq!(warnings(&flag), [""; 0]);

    let file =
        given(&[]).file("url", format!("{}\n", URL.1)).names("AUTH_CALLBACK_URL_FILE", "url");
    assert_eq!(callback(&file).url.expose().as_str(), URL.1);
    assert!(!format!("{:?}", file.loads()).contains("canary"));
    let path = file.path("url");
    let other = given(&[]).flag("auth-callback-url-file", path.to_str().unwrap());
    assert_eq!(callback(&other).url.expose().as_str(), URL.1);

    let both = file.flag("auth-callback-timeout", "1s");
    assert_eq!(callback(&both).timeout, Duration::from_secs(1), "a file's address turns it on too");
    let twice = with(&[]).names("AUTH_CALLBACK_URL_FILE", "url");
    assert_eq!(
        twice.problems(),
        ["AUTH_CALLBACK_URL: excludes AUTH_CALLBACK_URL_FILE; give one of them"]
    );
}

#[test]
fn what_is_hardly_meant_is_warned_about() {
    for (address, said) in [
        ("https://user:canary@auth.test/", Some("its user name and password are not sent")),
        ("http://auth.test/?canary", Some("credentials cross the network in clear text")),
        ("http://127.0.0.1:9/?canary", None),
        ("https://auth.test/?canary", None),
    ] {
        let warnings = warnings(&given(&[("AUTH_CALLBACK_URL", address)]));
        assert_eq!(warnings.len(), usize::from(said.is_some()), "{warnings:?}");
        for (warning, said) in warnings.iter().zip(said) {
            assert!(warning.starts_with("AUTH_CALLBACK_URL: ") && warning.contains(said));
            assert!(!warning.contains("canary"), "{warning}");
        }
    }
}

#[test]
fn a_client_certificate_needs_its_key() {
    let certificate = with(&[]).file("pem", CERTIFICATE).names("AUTH_CALLBACK_CLIENT_CERT", "pem");
    assert_eq!(
        certificate.problems(),
        ["AUTH_CALLBACK_CLIENT_CERT: needs AUTH_CALLBACK_CLIENT_KEY beside it"]
    );
    let key = with(&[]).file("pem", KEY).names("AUTH_CALLBACK_CLIENT_KEY", "pem");
    assert_eq!(
        key.problems(),
        ["AUTH_CALLBACK_CLIENT_KEY: needs AUTH_CALLBACK_CLIENT_CERT beside it"]
    );
    let both = certificate.file("key", KEY).names("AUTH_CALLBACK_CLIENT_KEY", "key");
    assert_eq!(warnings(&both), [""; 0]);
    fs::set_permissions(both.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = warnings(&both);
    assert!(warnings.len() == 1 && warnings[0].contains("every user can read it"), "{warnings:?}");
    fs::set_permissions(both.path("pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(both.loads().warnings.len(), 2, "a certificate is no secret");
}

#[test]
fn pem_files_that_cannot_be_used() {
    let no_authority = "AUTH_CALLBACK_CA: the file holds no certificate in PEM form";
    let broken_authority = "AUTH_CALLBACK_CA: the file holds a certificate that is broken";
    let no_certificate = "AUTH_CALLBACK_CLIENT_CERT: the file holds no certificate in PEM form";
    let no_key = "AUTH_CALLBACK_CLIENT_KEY: the file holds no private key in PEM form";
    let no_pair = "AUTH_CALLBACK_CLIENT_CERT: the file does not fit the key, or is broken";
    for (ca, certificate, key, said) in [
        (KEY, CERTIFICATE, KEY, &[no_authority][..]),
        ("canary", CERTIFICATE, KEY, &[no_authority]),
        (CERTIFICATE, CERTIFICATE, CERTIFICATE, &[no_key]),
        (CERTIFICATE, "", KEY, &[no_certificate]),
        (CERTIFICATE, CERTIFICATE, OTHER_KEY, &[no_pair]),
        (CERTIFICATE, HOLLOW, KEY, &[no_pair]),
        (HOLLOW, CERTIFICATE, KEY, &[broken_authority]),
        ("", "canary", "canary", &[no_authority, no_certificate, no_key]),
    ] {
        let given = with(&[])
            .file("ca", ca)
            .file("cert", certificate)
            .file("key", key)
            .names("AUTH_CALLBACK_CA", "ca")
            .names("AUTH_CALLBACK_CLIENT_CERT", "cert")
            .names("AUTH_CALLBACK_CLIENT_KEY", "key");
        assert_eq!(given.problems(), said);
    }
    assert_eq!(
        with(&[("AUTH_CALLBACK_CA", "/nowhere/canary")]).problems(),
        ["AUTH_CALLBACK_CA: the file cannot be read: No such file or directory (os error 2)"]
    );
}

#[test]
fn keys_may_go_as_long_as_a_callback_stays() {
    let old = given(&[("COPPICE_API_KEYS", "a:k:read")]).loads().keys;
    let without_keys = with(&[]);
    let loaded = Settings::load(&without_keys.sources, Some(&old)).unwrap();
    assert!(loaded.keys.is_empty() && !loaded.settings.auth.is_open());
    assert!(load_keys(&without_keys.sources, &old, false).unwrap().0.is_empty());

    // One that is broken does not count as gone, and stops the reload for what it is.
    let broken = given(&[("AUTH_CALLBACK_URL", "")]);
    let problems = Settings::load(&broken.sources, Some(&old)).unwrap_err().to_string();
    assert_eq!(problems, "AUTH_CALLBACK_URL: is empty; remove it or give it a value");
    let both = with(&[("COPPICE_API_KEYS", "a:k:read")]).loads().settings.auth;
    assert!(both.has_keys && both.callback.is_some() && !both.is_open());
}
