//! What command lines mean, and which are refused.

use std::collections::BTreeMap;

use super::*;

fn flags(args: &[&str]) -> BTreeMap<String, String> {
    let args = ["coppice-gateway"].iter().chain(args).map(OsString::from);
    Invocation::parse(args).map(|invocation| invocation.sources.flags).expect("understood")
}

#[test]
fn the_grammar_is_sound() {
    command().debug_assert();
}

#[test]
fn flags_stand_before_or_after_the_command() {
    for args in [
        &["--upstream", "u"][..],
        &["serve", "--upstream", "u"],
        &["--upstream=u", "serve"],
        &["--upstream", "x", "check", "--upstream", "u"],
    ] {
        assert_eq!(flags(args)["upstream"], "u", "{args:?}");
    }
    assert_eq!(flags(&["--listen", "a", "--listen", "b,c"])["listen"], "a,b,c");
    assert_eq!(flags(&["--secret-file", "f"])["secret-file"], "f");
    assert_eq!(flags(&["--domain", ""])["domain"], "");
}

#[test]
fn switches_take_a_value_or_none() {
    for (args, value) in [
        (&["--allow-open"][..], "on"),
        (&["--allow-open", "serve"], "on"),
        (&["--allow-open=off"], "off"),
        (&["--allow-open", "off", "check"], "off"),
        (&["--allow-open="], ""),
        (&["--allow-open", "--workers", "1"], "on"),
    ] {
        assert_eq!(flags(args)["allow-open"], value, "{args:?}");
    }
}

#[test]
fn commands_take_the_settings_they_use() {
    assert_eq!(flags(&["--domain", "d", "explain", "GET", "/x", "--one-port"]).len(), 2);
    assert_eq!(flags(&["demo", "--listen", "a", "--log", "b"]).len(), 2);
    assert_eq!(flags(&["--listen", "a", "demo", "--envd-listen", "b"]).len(), 2);
    for args in [
        &["--domain", "a", "demo"][..],
        &["demo", "--domain", "a"],
        &["demo", "--config", "a"],
        &["--config", "a", "routes"],
    ] {
        let args = ["coppice-gateway"].iter().chain(args).map(OsString::from);
        assert!(Invocation::parse(args.clone()).is_err(), "{:?}", args.collect::<Vec<_>>());
    }
}

#[test]
fn nonsense_is_refused() {
    for args in [
        &["frobnicate"][..],
        &["--frobnicate"],
        &["--upstream"],
        &["--domain", "a", "--domain", "b"],
        &["--listen", "a", "whoami"],
        &["whoami", "--token", "a", "--token-stdin"],
        &["whoami", "--token", ""],
        &["completions", "cmd"],
        &["hash-key", "canary"],
        &["--api-keys", "a:b:c"],
        &["--secret", "x"],
    ] {
        let args = ["coppice-gateway"].iter().chain(args).map(OsString::from);
        assert!(Invocation::parse(args.clone()).is_err(), "{:?}", args.collect::<Vec<_>>());
    }
}
