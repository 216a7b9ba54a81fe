//! Breaches planted in small sources: each must be found, and what looks like one must not.

use super::rules::breaches;

/// The breaches of a file that holds `code`.
fn of(file: &str, code: &str) -> Vec<String> {
    breaches(file, &format!("//! It.\n{code}"))
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    for code in [
        "use crate::config::Settings;",
        "use crate::{secret::Secret, config::Settings};",
        "use crate::{\n    secret::Secret,\n    config::{self as quiet},\n};",
        "use crate::config as quiet;",
        "use super::config::Settings;",
        "pub use crate::config;",
        "fn f() { crate::config::load(); }",
        "fn f() -> Option<crate::config::Settings> { None }",
        "fn f() { let x = vec![crate::config::DEFAULT]; }",
        "macro_rules! m { () => { $crate::config::load() }; }",
        "mod inner { use super::super::config::Settings; }",
        "#[derive(crate::config::Derive)] struct S;",
        "const C: char = '\"'; use crate::config::Settings; const D: char = '\"';",
        "const R: &str = r#\"\"\"#; use crate::config::Settings; const S: &str = \"\";",
        "fn f<'a>(x: &'a str) { crate::config::load(x) }",
        "#[cfg(test)] use std::fmt; use crate::config::Settings;",
        "#[cfg(test)] mod tests {} fn f() { crate::config::load() }",
        "mod inner { mod deeper {} } fn f() { crate::config::load() }",
        "use crate::*;",
        "use super::*;",
    ] {
        assert_eq!(of("src/proxy.rs", code).len(), 1, "{code}\n{:?}", of("src/proxy.rs", code));
    }
    assert_eq!(of("src/proxy/pool.rs", "use super::super::config::Settings;").len(), 1);
    assert_eq!(of("src/authn.rs", "use crate::directory::Directory;").len(), 1, "the same rank");
    assert_eq!(of("src/clock.rs", "use crate::no_such_module::X;").len(), 1);
}

#[test]
fn the_line_is_named() {
    let found =
        of("src/proxy.rs", "/* two\n lines */ const A: &str = \"\n\";\n\nuse crate::cli;\n");
    assert_eq!(
        found,
        ["src/proxy.rs:6: `crate::cli`: `proxy` has rank 4 and must not import rank 11"]
    );
}

#[test]
fn what_is_no_import_is_let_be() {
    for code in [
        "// use crate::config::Settings;",
        "/* use crate::config; /* nested */ use crate::cli; */",
        "/// See [`Settings`](crate::config::Settings).\nfn f() {}",
        "const T: &str = \"use crate::config::Settings;\";",
        "const T: &str = \"\\\" crate::config::Settings\";",
        "const T: &str = r##\"\"# crate::config::Settings\"##;",
        "const T: &[u8] = b\"crate::config::Settings\";",
        "use crate::secret::Secret;",
        "use super::proxy::Pool;",
        "mod inner { use super::Pool; use super::*; }",
        "mod inner;\nuse inner::config::X;\nuse self::inner::cli::Y;",
        "pub(crate) fn f() {}",
        "fn f() -> impl Iterator<Item = u8> + use<'static> { std::iter::empty() }",
    ] {
        assert_eq!(of("src/proxy.rs", code), [] as [String; 0], "{code}");
    }
}

#[test]
fn tests_may_look_sideways_but_not_up() {
    let sideways = "use crate::directory::Directory;";
    let up = "use crate::config::Settings;";
    for (wrap, file) in [
        (("#[cfg(test)]\nmod tests {\n use super::*; ", "}"), "src/authn.rs"),
        (("#[cfg(test)] ", ""), "src/authn.rs"),
        (("", ""), "src/authn/tests.rs"),
        (("", ""), "src/authn/tests/corpus.rs"),
    ] {
        let wrapped = |code| of(file, &format!("{}{code}{}", wrap.0, wrap.1));
        assert_eq!(wrapped(sideways), [] as [String; 0], "{file}");
        assert_eq!(wrapped(up).len(), 1, "{file}");
    }
    assert_eq!(of("src/authn.rs", "mod tests { }").len(), 1, "compiled into the product");
    assert_eq!(of("src/authn.rs", "#[cfg(test)]\nmod tests;"), [] as [String; 0]);
}

#[test]
fn outside_crates_stay_behind_their_walls() {
    for (file, code) in [
        ("src/proxy/control.rs", "use hyper_util::client::legacy::Client;"),
        ("src/proxy/control.rs", "use hyper_util::{client::legacy::Client, rt::TokioIo};"),
        ("src/layer/auth.rs", "use axum::Router;"),
        ("src/layer.rs", "use ::axum;"),
        ("src/config.rs", "#[derive(clap::Parser)] struct S;"),
        ("src/config.rs", "use std::{env, fs};"),
        ("src/proxy.rs", "fn f() { std::env::var_os(\"X\"); }"),
        ("src/cli.rs", "use reqwest::Client;"),
        ("src/json/edit.rs", "use serde_json::Value;"),
        ("src/proxy.rs", "use crate::keys::KeySet;"),
        ("src/permit.rs", "use http::{Request, header::HOST};"),
        ("src/policy.rs", "fn f(headers: &http::HeaderMap) {}"),
        ("src/token.rs", "async fn f() { tokio::time::sleep(LONG).await }"),
        ("src/config.rs", "use crate::proxy::Upstreams;"),
        ("src/simulator.rs", "use crate::principal::Scope;"),
        ("src/worker.rs", "use crate::config::Settings;"),
        ("src/app.rs", "use crate::simulator::Simulator;"),
    ] {
        assert_eq!(of(file, code).len(), 1, "{file}: {code}\n{:?}", of(file, code));
    }
    for (file, code) in [
        ("src/http1/connect.rs", "use hyper_util::client::legacy::connect::HttpConnector;"),
        ("src/proxy/tunnel.rs", "use hyper_util::rt::TokioIo;"),
        ("src/endpoint/whoami.rs", "use axum::Router;"),
        ("src/cli/args.rs", "use clap::Parser;"),
        ("src/config/sources.rs", "use std::env;"),
        ("src/json/tests.rs", "use serde_json::Value;"),
        ("src/permit.rs", "use http::Request;"),
        ("src/cli/demo.rs", "use crate::simulator::Simulator;"),
        ("src/main.rs", "use coppice_gateway::cli;"),
        ("src/proxy.rs", "const X: &str = env!(\"CARGO_PKG_VERSION\");"),
    ] {
        assert_eq!(of(file, code), [] as [String; 0], "{file}: {code}");
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let long = "\n".repeat(450);
    for (file, text) in [
        ("src/authn.rs", "use std::fmt;"),
        ("src/authn.rs", "// It."),
        ("src/authn.rs", &*format!("//! It.{long}x")),
        ("tests/it/keys.rs", "use std::fmt;"),
        ("tests/clients/python/files.py", &*format!("{long}x")),
        ("src/proxy/mod.rs", "//! It."),
        ("src/proxy/utils.rs", "//! It."),
        ("tests/it/common/server.rs", "//! It."),
        ("src/new_thing.rs", "//! It."),
        ("src/new_thing/part.rs", "//! It."),
    ] {
        assert_eq!(breaches(file, text).len(), 1, "{file}: {:?}", breaches(file, text));
    }
    assert_eq!(breaches("src/authn.rs", &format!("//! It.\n{}", "\n".repeat(449))).len(), 0);
}
