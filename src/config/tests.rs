//! What counts as a setting, which spelling wins, and what a broken one says.

mod callback;
mod credentials;
mod example;
mod tenants;
mod tls;
mod traces;
mod upstream;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Sources under construction, with a directory for the files they name.
struct Given {
    sources: Sources,
    directory: TempDir,
}

/// An environment, with an upstream so that nothing else is required.
fn given(variables: &[(&str, &str)]) -> Given {
    let directory = tempfile::tempdir().unwrap();
    let mut sources = Sources::default();
    for (name, value) in [("COPPICE_UPSTREAM", "http://up:1")].iter().chain(variables) {
        sources.environment.insert((*name).to_owned(), value.into());
    }
    Given { sources, directory }
}

impl Given {
    fn without(mut self, name: &str) -> Self {
        self.sources.environment.remove(name);
        self
    }

    fn flag(mut self, name: &str, value: &str) -> Self {
        self.sources.flags.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A file readable by its owner alone; what needs its path gets it from `path`.
    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn toml(self, text: &str) -> Self {
        let path = self.path("gateway.toml");
        self.file("gateway.toml", text).flag("config", path.to_str().unwrap())
    }

    /// Sets a variable to the path of a file in the directory.
    fn names(mut self, variable: &str, name: &str) -> Self {
        self.sources.environment.insert(variable.to_owned(), self.path(name).into());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    #[track_caller]
    fn loads(&self) -> Loaded {
        match Settings::load(&self.sources, None) {
            Ok(loaded) => loaded,
            Err(problems) => panic!("refused:\n{problems}"),
        }
    }

    /// The problems, with the directory's name cut off.
    #[track_caller]
    fn problems(&self) -> Vec<String> {
        let problems = Settings::load(&self.sources, None).expect_err("accepted");
        let directory = format!("{}/", self.directory.path().display());
        problems.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
    }
}

#[test]
fn defaults() {
    let loaded = given(&[]).loads();
    let Settings { server, upstream, auth, tenants, audit, state_dir, log, traces } =
        &loaded.settings;
    assert_eq!(audit.log_cap.get(), 2048);
    assert_eq!(server.listen, [Listen::Tcp("127.0.0.1:3000".parse().unwrap())]);
    assert!(server.one_port && !server.allow_open && server.envd_listen.is_empty());
    assert_eq!((server.workers, &server.domain), (None, &None));
    assert_eq!(server.drain_timeout, Duration::from_secs(30));
    assert_eq!(upstream.url.to_string(), "http://up:1");
    assert_eq!(upstream.create_timeout, Duration::from_secs(180));
    assert!(upstream.envd.is_empty() && upstream.api_key.is_none() && !upstream.http2);
    assert_eq!((auth.is_open(), auth.precedence), (true, crate::credential::Precedence::Bearer));
    assert!(auth.secrets.is_empty() && auth.keys_file.is_none() && state_dir.is_none());
    assert!(tenants.isolation && tenants.show_marker && tenants.metadata_reserved.is_empty());
    assert!(tenants.limits.is_empty());
    assert_eq!(tenants.quota_status, QuotaStatus::Forbidden);
    assert_eq!((&audit.log, audit.policy, audit.rotate_size), (&None, AuditPolicy::Drop, None));
    assert_eq!(audit.sync, AuditSync::Every(Duration::from_secs(1)));
    assert_eq!((log.filter.as_str(), log.format), ("info", LogFormat::Auto));
    assert!(loaded.keys.is_empty() && traces.is_none() && server.ops_listen.is_empty());
    assert!(loaded.warnings[0].contains("the gateway is open"), "{:?}", loaded.warnings);
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let given = given(&[("COPPICE_DOMAIN", "env.test"), ("COPPICE_WORKERS", "2")])
        .toml("[server]\ndomain = 'file.test'\nworkers = 3\nmax_streams = 4\n")
        .flag("domain", "flag.test");
    let server = given.loads().settings.server;
    assert_eq!(server.domain.unwrap().as_str(), "flag.test");
    assert_eq!(server.workers.unwrap().get(), 2);
    assert_eq!(server.max_streams, 4);
}

#[test]
fn toml_values_may_be_typed() {
    let given = given(&[]).toml(
        "[server]\nlisten = ['127.0.0.1:1', 'unix:/x']\none_port = false\nhead_timeout = 5\n\
         drain_timeout = '2m'\n[upstream]\nenvd = 'http://e:1'\nhttp2 = 'on'\n[auth]\n\
         api_keys = ['a:k1:read', 'a:k2:read,a:k3:read']\n",
    );
    let loaded = given.loads();
    assert_eq!(loaded.settings.server.listen.len(), 2);
    assert!(!loaded.settings.server.one_port && loaded.settings.upstream.http2);
    assert_eq!(loaded.settings.server.head_timeout, Duration::from_secs(5));
    assert_eq!(loaded.settings.server.drain_timeout, Duration::from_secs(120));
    assert_eq!(loaded.keys.len(), 3);
}

#[test]
fn every_problem_is_told_at_once_under_the_spelling_used() {
    let given = given(&[("COPPICE_WORKERS", "0"), ("COPPICE_UPSTREAM", "https://canary:0")])
        .toml("[server]\ndomain = 'a:1'\nlistn = []\n\n[log]\n  format = 'xml'\n[auth]\napi_keys = 'a:canary:x'\n")
        .flag("upstream-create-timeout", "79s");
    assert_eq!(
        given.problems(),
        [
            "--upstream-create-timeout: '79s' is out of range: it must be from 80s to 86400s",
            "gateway.toml:2:10: server.domain: 'a:1' is not a domain name (letters, digits, '-' and '_', without a port)",
            "gateway.toml:3:1: server.listn: unknown setting; did you mean server.listen?",
            "gateway.toml:6:12: log.format: 'xml' is none of text, json and auto",
            "gateway.toml:8:12: auth.api_keys: entry 1 (tenant a): a scope is unknown (known, in lower case: read, exec, owner, admin)",
            "COPPICE_UPSTREAM: has no usable host and port",
            "COPPICE_WORKERS: '0' is no whole number from 1 to 1024",
        ]
    );
}

#[test]
fn present_but_empty_is_a_problem_and_never_off() {
    let empty = "is empty; remove it or give it a value";
    for setting in SETTINGS {
        let beside = beside(setting);
        for value in ["", " \n"] {
            let variable = given(&[beside, &[(setting.env, value)]].concat());
            assert_eq!(variable.problems(), [format!("{}: {empty}", setting.env)]);
            if let Some(flag) = setting.flag {
                let given = given(beside).flag(flag, value);
                assert_eq!(given.problems(), [format!("--{flag}: {empty}")]);
            }
        }
        let (table, key) = setting.key.split_once('.').unwrap();
        let given = given(beside).toml(&format!("[{table}]\n{key} = ''\n"));
        let column = key.len() + 4;
        assert_eq!(
            given.problems(),
            [format!("gateway.toml:2:{column}: {}: {empty}", setting.key)]
        );
    }
}

/// The variables that a setting needs beside it.
fn beside(setting: &Setting) -> &'static [(&'static str, &'static str)] {
    match setting.key {
        "auth.callback.url" => &[],
        "upstream.tls_client_cert" => &[
            ("COPPICE_ENVD_UPSTREAM", "https://e"),
            ("COPPICE_UPSTREAM_TLS_CLIENT_KEY", "/dev/null"),
        ],
        "upstream.tls_client_key" => &[
            ("COPPICE_ENVD_UPSTREAM", "https://e"),
            ("COPPICE_UPSTREAM_TLS_CLIENT_CERT", "/dev/null"),
        ],
        key if key.starts_with("upstream.tls_") => &[("COPPICE_ENVD_UPSTREAM", "https://e")],
        "auth.callback.client_cert" => {
            &[("AUTH_CALLBACK_URL", "http://[::1]/"), ("AUTH_CALLBACK_CLIENT_KEY", "/dev/null")]
        }
        "auth.callback.client_key" => {
            &[("AUTH_CALLBACK_URL", "http://[::1]/"), ("AUTH_CALLBACK_CLIENT_CERT", "/dev/null")]
        }
        "server.tls_cert" => &[("COPPICE_TLS_KEY", "/dev/null")],
        "server.tls_key" => &[("COPPICE_TLS_CERT", "/dev/null")],
        "server.tls_client_ca" => {
            &[("COPPICE_TLS_CERT", "/dev/null"), ("COPPICE_TLS_KEY", "/dev/null")]
        }
        "server.tls_client_auth" => &[
            ("COPPICE_TLS_CERT", "/dev/null"),
            ("COPPICE_TLS_KEY", "/dev/null"),
            ("COPPICE_TLS_CLIENT_CA", "/dev/null"),
        ],
        key if key.starts_with("auth.callback.") => &[("AUTH_CALLBACK_URL", "http://[::1]/")],
        _ => &[],
    }
}

#[test]
fn an_overruled_spelling_must_be_sound_too() {
    let given = given(&[("COPPICE_LISTEN", "")]).flag("listen", "127.0.0.1:1");
    assert_eq!(given.problems(), ["COPPICE_LISTEN: is empty; remove it or give it a value"]);
}

#[test]
fn the_upstream_is_required() {
    assert_eq!(
        given(&[]).without("COPPICE_UPSTREAM").problems(),
        ["upstream.url: is required; set --upstream, COPPICE_UPSTREAM or this key of the file"]
    );
}

#[test]
fn settings_of_other_versions_stop_the_start() {
    for name in [
        "COPPICE_STORE",
        "COPPICE_TENANT_MAX_SANDBOX",
        "COPPICE_TENANT_LIMITS",
        "COPPICE_QUOTA_STATE",
        "COPPICE_AUDIT_FILE",
        "COPPICE_TLS_CERTS",
    ] {
        for value in ["", "x"] {
            let problems = given(&[(name, value)]).problems();
            assert_eq!(problems, [format!("{name}: is not supported by this version")]);
        }
    }
    let file = given(&[]).toml(
        "[server]\n\ntls_ciphers = 'x'\n\
         [store]\nurl = 'x'\n",
    );
    assert_eq!(
        file.problems(),
        [
            "gateway.toml:3:1: server.tls_ciphers: is not supported by this version",
            "gateway.toml:4:2: store: is not supported by this version",
        ]
    );
}

#[test]
fn foreign_variables_are_only_warned_about() {
    let given = given(&[
        ("COPPICE_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("COPPICE_LISTN", "x"),
        ("COPPICE_URL", ""),
        ("COPPICE_TOKEN", "x"),
        ("E2B_API_KEY", "x"),
        ("LISTEN", "x"),
    ]);
    let warnings = given.loads().warnings;
    assert_eq!(
        warnings[..2],
        [
            "COPPICE_GATEWAY_SERVICE_HOST: no such setting, ignored",
            "COPPICE_LISTN: no such setting, ignored; did you mean COPPICE_LISTEN?",
        ]
    );
    assert!(!warnings[2].starts_with("COPPICE_"), "{warnings:?}");
}

#[test]
fn malformed_files() {
    for (text, said) in [
        ("x", "gateway.toml:1:2: not valid TOML: "),
        ("[server]\nlisten = canary", "gateway.toml:2:10: not valid TOML: "),
        ("server = 1", "gateway.toml:1:1: server: must be a table"),
        ("[server.listen]\na = 1", "gateway.toml:1:1: server.listen: must be a string"),
        (
            "[server]\nlisten = [true]",
            "gateway.toml:2:10: server.listen: must be an array of strings or whole numbers",
        ),
        ("[server]\nworkers = ['1']", "gateway.toml:2:11: server.workers: takes one value"),
    ] {
        let problems = given(&[]).toml(text).problems();
        assert!(problems[0].starts_with(said), "{text}: {problems:?}");
        assert!(!problems[0].contains("canary"), "{problems:?}");
    }
    assert_eq!(
        given(&[("COPPICE_CONFIG", "/nowhere/x")]).problems(),
        ["COPPICE_CONFIG: '/nowhere/x' cannot be read: No such file or directory (os error 2)"]
    );
    assert_eq!(given(&[("COPPICE_CONFIG", "")]).problems().len(), 1);
}

#[test]
fn strangers_may_not_reach_an_open_gateway() {
    let reachable = "0.0.0.0:3000 is reachable from elsewhere and no keys are set";
    let open = [("COPPICE_LISTEN", "0.0.0.0:3000")];
    let problems = given(&open).problems();
    assert!(problems[0].starts_with(&format!("COPPICE_LISTEN: {reachable}")), "{problems:?}");
    let data = given(&[]).flag("envd-listen", "[::]:0=*").problems();
    assert!(data[0].starts_with("--envd-listen: [::]:0 is reachable from elsewhere"), "{data:?}");

    assert!(given(&open).flag("allow-open", "on").loads().settings.server.allow_open);
    let keyed = given(&[open[0], ("COPPICE_API_KEYS", "a:k:read")]).loads();
    assert!(keyed.settings.auth.has_keys && !keyed.settings.auth.is_open());
    assert!(!keyed.warnings.iter().any(|warning| warning.contains("open")));
    given(&[("COPPICE_LISTEN", "unix:/run/x,[::1]:3000")]).loads();
}

#[test]
fn two_listeners_may_not_share_an_address() {
    let given = given(&[
        ("COPPICE_ENVD_LISTEN", "127.0.0.1:3000"),
        ("COPPICE_LISTEN", "127.0.0.1:3000,127.0.0.1:0,127.0.0.1:0"),
    ]);
    assert_eq!(given.problems(), ["COPPICE_ENVD_LISTEN: 127.0.0.1:3000 is listened on twice"]);
}

#[test]
fn the_log_filter_may_come_from_rust_log() {
    let filter = |variables: &[(&str, &str)]| given(variables).loads().settings.log.filter;
    assert_eq!(filter(&[("RUST_LOG", "debug")]).as_str(), "debug");
    assert_eq!(filter(&[("RUST_LOG", "debug"), ("COPPICE_LOG", "warn")]).as_str(), "warn");
    assert_eq!(filter(&[("RUST_LOG", "")]).as_str(), "info");
    assert!(given(&[("RUST_LOG", "a=b=c")]).problems()[0].starts_with("RUST_LOG: "));
}

#[test]
fn names_follow_one_rule() {
    let explicit = [
        "upstream.url",
        "upstream.envd",
        "log.filter",
        "auth.precedence",
        "tenants.show_marker",
        "tenants.metadata_reserved",
    ];
    for setting in SETTINGS {
        let (table, name) = setting.key.rsplit_once('.').unwrap();
        let (start, name) = match table {
            "server" | "auth" => ("COPPICE_", name.to_owned()),
            "tenants" => ("COPPICE_", format!("tenant_{name}")),
            "auth.callback" => ("", format!("auth_callback_{name}")),
            _ => ("COPPICE_", format!("{table}_{name}")),
        };
        if !explicit.contains(&setting.key) {
            assert_eq!(setting.env, format!("{start}{}", name.to_uppercase()));
            assert!(
                setting.flag.is_none_or(|flag| flag == name.replace('_', "-")),
                "{}",
                setting.key
            );
        }
        assert!(setting.help.ends_with('.') && !setting.help.contains('"'));
    }
}

proptest! {
    #[test]
    fn any_value_is_read_or_refused(index in 0..SETTINGS.len(), value in "[0-9a-z:/=.,*\\[\\]-]{0,24}|\\PC*") {
        let setting = SETTINGS[index];
        let _ = Settings::load(&given(&[(setting.env, &value)]).sources, None);
        let (table, key) = setting.key.split_once('.').unwrap();
        let _ = Settings::load(&given(&[]).toml(&format!("[{table}]\n{key} = {value}")).sources, None);
    }

    #[test]
    fn an_address_is_read_as_it_is_shown(port: u16, v4: [u8; 4], v6: [u8; 16], is_v4: bool) {
        let ip = if is_v4 { v4.into() } else { std::net::IpAddr::from(v6) };
        let listen = Listen::Tcp((ip, port).into());
        prop_assert_eq!(Listen::parse(&listen.to_string()), Ok(listen));
    }
}
