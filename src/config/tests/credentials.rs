//! Keys and secrets: where they come from, and what a reload may do to them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::given;
use crate::config::{Settings, load_keys};
use crate::keys::{KeyDigest, KeySet};
use crate::pem::Source;
use crate::secret::Secret;

#[test]
fn keys_of_both_sources_are_one_set() {
    let given = given(&[("COPPICE_API_KEYS", "a:k1:read,b:k2:exec")])
        .file("keys", "# more\nb:k2:exec\nc:k3:admin\n")
        .names("COPPICE_API_KEYS_FILE", "keys");
    let loaded = given.loads();
    assert_eq!(loaded.keys.len(), 3);
    assert_eq!(loaded.settings.auth.keys_file.unwrap().path, given.path("keys"));

    let clash = given.file("keys", "\na:k1:admin");
    assert_eq!(
        clash.problems(),
        [
            "keys:2:1: entry 1 (tenant a): the same key as COPPICE_API_KEYS: entry 1, with another set of scopes"
        ]
    );
}

#[test]
fn keys_files_that_cannot_be_used() {
    let variable = "COPPICE_API_KEYS_FILE";
    for (name, text, said) in [
        (
            "absent",
            None,
            "COPPICE_API_KEYS_FILE: the file cannot be read: No such file or directory (os error 2)",
        ),
        ("", None, "COPPICE_API_KEYS_FILE: the file cannot be read: Is a directory (os error 21)"),
        ("keys", Some(&b"\xff"[..]), "COPPICE_API_KEYS_FILE: the file is not UTF-8 text"),
        ("keys", Some(b""), "keys: holds no key"),
        ("keys", Some(b"[]"), "keys: holds no key"),
        ("keys", Some(b"[{]"), "keys:1:3: not valid JSON: key must be a string"),
    ] {
        let given = given(&[]).names(variable, name);
        let given = if let Some(text) = text { given.file(name, text) } else { given };
        assert_eq!(given.problems(), [said]);
    }
}

#[test]
fn keys_files_may_be_long_but_not_endless() {
    let comment = format!("#{}\n", "x".repeat(4094)).repeat((65 << 20) / 4096);
    let given = given(&[])
        .file("keys", format!("{comment}a:k1:read\n"))
        .names("COPPICE_API_KEYS_FILE", "keys");
    assert_eq!(given.loads().keys.len(), 1);

    let file = fs::OpenOptions::new().append(true).open(given.path("keys")).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    assert_eq!(given.problems(), ["COPPICE_API_KEYS_FILE: the file is larger than 256 MiB"]);
}

#[test]
fn files_with_secrets_that_others_can_read_are_warned_about() {
    let secret = "0123456789abcdef0123456789abcdef";
    let given = given(&[])
        .file("keys", "a:k1:read")
        .names("COPPICE_API_KEYS_FILE", "keys")
        .file("secret", secret)
        .names("COPPICE_SECRET_FILE", "secret")
        .toml("[upstream]\napi_key = 'x'");
    assert_eq!(given.loads().warnings, [""; 0]);
    for name in ["keys", "secret", "gateway.toml"] {
        fs::set_permissions(given.path(name), fs::Permissions::from_mode(0o644)).unwrap();
        let warnings = given.loads().warnings;
        assert!(
            warnings.len() == 1 && warnings[0].contains("every user can read it"),
            "{warnings:?}"
        );
        fs::set_permissions(given.path(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
}

#[test]
fn secrets_come_inline_or_from_a_file() {
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    let both = format!("{new}, {old}");
    let loaded = given(&[("COPPICE_SECRET", &both)]).loads();
    let exposed: Vec<_> = loaded.settings.auth.secrets.iter().map(Secret::expose).collect();
    assert_eq!(exposed, [new.as_str(), old.as_str()]);

    let file =
        given(&[]).file("key", "upstream-key\r\n").names("COPPICE_UPSTREAM_API_KEY_FILE", "key");
    assert_eq!(file.loads().settings.upstream.api_key.unwrap().expose(), "upstream-key");

    let path = file.path("key");
    let toml = given(&[]).toml(&format!("[upstream]\napi_key_file = '{}'", path.display()));
    assert_eq!(toml.loads().settings.upstream.api_key.unwrap().expose(), "upstream-key");

    let flag = given(&[("COPPICE_UPSTREAM_API_KEY", "other")])
        .flag("upstream-api-key-file", path.to_str().unwrap());
    assert_eq!(flag.loads().settings.upstream.api_key.unwrap().expose(), "upstream-key");
}

#[test]
fn faulty_secrets() {
    assert_eq!(
        given(&[("COPPICE_SECRET", "canary")]).problems(),
        ["COPPICE_SECRET: a secret is shorter than 32 bytes"]
    );
    let long = "canary".repeat(6);
    assert_eq!(
        given(&[("COPPICE_SECRET", &format!("{long},canary"))]).problems(),
        ["COPPICE_SECRET: a secret is shorter than 32 bytes"]
    );
    let file = given(&[("COPPICE_SECRET", &long)])
        .file("secret", &long)
        .names("COPPICE_SECRET_FILE", "secret");
    assert_eq!(file.problems(), ["COPPICE_SECRET: excludes COPPICE_SECRET_FILE; give one of them"]);
    let empty = given(&[]).file("secret", "\n").names("COPPICE_SECRET_FILE", "secret");
    assert_eq!(empty.problems(), ["COPPICE_SECRET_FILE: the file is empty"]);
    assert_eq!(
        given(&[("COPPICE_UPSTREAM_API_KEY", "can\u{e4}ry")]).problems(),
        ["COPPICE_UPSTREAM_API_KEY: holds something other than visible ASCII characters"]
    );
    let shown = given(&[]).flag("upstream-api-key", "canary").loads();
    assert!(
        shown
            .warnings
            .iter()
            .any(|w| w.starts_with("--upstream-api-key: shows in the list of processes"))
    );
    assert!(!format!("{shown:?}").contains("canary"));
}

#[test]
fn a_reload_swaps_keys_or_keeps_all() {
    let given =
        given(&[]).file("keys", "a:kept:read\na:gone:read").names("COPPICE_API_KEYS_FILE", "keys");
    let old = given.loads().keys;
    let given = given.file("keys", "a:kept:read\na:new:read");
    let (new, _) = load_keys(&given.sources, &old, false).unwrap();
    let find = |key: &str| new.find(&KeyDigest::of(key.as_bytes()));
    assert!(find("gone").is_none() && find("new").is_some());
    let kept = old.find(&KeyDigest::of(b"kept")).unwrap();
    assert_eq!(find("kept").unwrap().since(), kept.since());

    let given = given.file("keys", "a:kept");
    assert!(load_keys(&given.sources, &old, false).is_err());
}

#[test]
fn a_keys_file_is_known_as_it_was_when_it_was_read() {
    let given = given(&[]).file("keys", "a:kept:read").names("COPPICE_API_KEYS_FILE", "keys");
    let loaded = given.loads();
    let file = given.path("keys");
    assert_eq!(loaded.settings.auth.keys_file, Some(Source::of(&file)));
    let given = given.file("keys", "a:kept:read\na:new:read");
    assert_ne!(loaded.settings.auth.keys_file, Some(Source::of(&file)));
    let (_, read) = load_keys(&given.sources, &loaded.keys, false).unwrap();
    assert_eq!(read, Some(Source::of(&file)));
}

#[test]
fn a_reload_cannot_open_the_gateway() {
    let given = given(&[]).toml("[auth]\napi_keys = 'a:k:read'");
    let old = given.loads().keys;
    let given = given.toml("");
    let problems = Settings::load(&given.sources, Some(&old)).unwrap_err().to_string();
    assert!(problems.starts_with("auth.api_keys: a reload cannot"), "{problems}");
    assert!(load_keys(&given.sources, &old, false).is_err());
}

#[test]
fn a_broken_key_list_is_not_an_open_gateway() {
    for keys in [",", "a:k", "a:canary:admn"] {
        let given = given(&[("COPPICE_API_KEYS", keys)]);
        let problems = given.problems();
        assert!(problems[0].starts_with("COPPICE_API_KEYS: "), "{problems:?}");
    }
}

#[test]
fn a_secret_in_the_place_of_a_path_is_not_told() {
    for name in ["COPPICE_API_KEYS_FILE", "COPPICE_SECRET_FILE", "COPPICE_UPSTREAM_API_KEY_FILE"] {
        let problems = given(&[(name, "team-a:canary:admin")]).problems();
        assert!(problems[0].starts_with(name) && !problems[0].contains("canary"), "{problems:?}");
    }
}

#[test]
fn a_process_that_was_replaced_passes_over_what_only_its_successor_knows() {
    let given = given(&[]).toml("[server]\nof_tomorrow = 1\n[auth]\napi_keys = [\"a:k1:read\"]\n");
    let old = KeySet::default();
    assert!(load_keys(&given.sources, &old, false).is_err());
    assert_eq!(load_keys(&given.sources, &old, true).unwrap().0.len(), 1);
    let torn = given.toml("[auth]\napi_keys = [\"a:k1:read\"");
    assert!(load_keys(&torn.sources, &old, true).is_err());
}
