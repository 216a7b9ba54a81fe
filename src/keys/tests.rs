//! How key lists are read, and what a set of keys keeps over a reload.

mod reading;

use proptest::prelude::*;

use super::*;
use crate::clock::UnixTime;
use crate::principal::{KeyId, TenantId};

type Problems = Vec<KeyProblem>;

/// A problem's text for each problem of a list that must not be accepted.
#[track_caller]
fn problems(result: Result<KeySet, Problems>) -> Vec<String> {
    result.expect_err("accepted").iter().map(ToString::to_string).collect()
}

fn list(text: &str) -> Result<KeySet, Problems> {
    let mut draft = KeyDraft::default();
    read_list(&mut draft, "KEYS", text);
    draft.finish(None)
}

fn file(text: &str) -> Result<KeySet, Problems> {
    let mut draft = KeyDraft::default();
    add_file(&mut draft, text);
    draft.finish(None)
}

fn add_file(draft: &mut KeyDraft, text: &str) {
    let mut file = KeyFile::new(draft, "keys", text.len());
    file.take(text.as_bytes()).unwrap();
    file.end().unwrap();
}

/// `tenant scopes` of each key, in order; each must be the given one.
#[track_caller]
fn summary(result: Result<KeySet, Problems>, keys: &[&str]) -> Vec<String> {
    let set = result.expect("refused");
    let expected: Vec<_> = keys.iter().map(|key| KeyDigest::of(key.as_bytes())).collect();
    assert_eq!(set.iter().map(|key| *key.digest()).collect::<Vec<_>>(), expected);
    set.iter().map(|key| format!("{} {}", key.tenant(), key.scopes())).collect()
}

const TWO: [&str; 2] = ["team-a admin|exec", "team-b read"];

#[test]
fn separators_and_spaces() {
    for text in [
        "team-a:sk-a:admin|exec,team-b:sk-b:read",
        "team-a:sk-a:admin|exec\nteam-b:sk-b:read",
        "team-a:sk-a:admin|exec\r\nteam-b:sk-b:read\r\n",
        "\n,, team-a : sk-a : admin | exec ,\n\n ,\tteam-b\t:sk-b: read,",
        "team-a:sk-a:admin|exec|admin,\nteam-b:sk-b:read",
    ] {
        assert_eq!(summary(list(text), &["sk-a", "sk-b"]), TWO, "{text:?}");
        assert_eq!(summary(file(text), &["sk-a", "sk-b"]), TWO, "{text:?}");
    }
}

#[test]
fn files_may_hold_comments_and_a_byte_order_mark() {
    let text = "\u{feff}# keys, of both teams\nteam-a:sk#a:admin|exec # the owner's\n  #x:y:admin\nteam-b:sk-b:read\n";
    assert_eq!(summary(file(text), &["sk#a", "sk-b"]), TWO);
    assert_eq!(
        problems(list("# a comment")),
        ["KEYS: entry 1: must be written as tenant:key:scope|scope"]
    );
}

#[test]
fn the_first_and_the_last_colon_split() {
    assert_eq!(summary(list("t:sk:with:colon:read"), &["sk:with:colon"]), ["t read"]);
    let digest = KeyDigest::of(b"sk-a").to_hex();
    assert_eq!(summary(list(&format!("t:sha256:{digest}:read")), &["sk-a"]), ["t read"]);
    let upper = digest.to_uppercase();
    assert_eq!(summary(list(&format!("t:sha256:{upper}:read")), &["sk-a"]), ["t read"]);
}

#[test]
fn keys_of_one_byte_and_of_four_kibibytes() {
    let (short, long) = ("k", "k".repeat(4096));
    assert_eq!(summary(list(&format!("t:{short}:read")), &[short]), ["t read"]);
    assert_eq!(summary(list(&format!("t:{long}:read")), &[&long]), ["t read"]);
    let longer = "k".repeat(4097);
    assert_eq!(
        problems(list(&format!("t:{longer}:read"))),
        ["KEYS: entry 1 (tenant t): the key is longer than 4096 bytes"]
    );
}

#[test]
fn faulty_entries_of_the_line_form() {
    let scopes = "(known, in lower case: read, exec, owner, admin)";
    let no_scopes = "there are no scopes (known: read, exec, owner, admin)";
    let digest = "'sha256:' must be followed by exactly 64 hexadecimal digits";
    for (text, said) in [
        ("canary", "entry 1: must be written as tenant:key:scope|scope".to_owned()),
        ("t:canary", "entry 1 (tenant t): has a field too few; write tenant:key:scope|scope".to_owned()),
        ("canary:admin", "entry 1: has a field too few; write tenant:key:scope|scope".to_owned()),
        ("t:canary:", format!("entry 1 (tenant t): {no_scopes}")),
        (":canary:read", "entry 1: the tenant is empty".to_owned()),
        ("t::read", "entry 1 (tenant t): the key is empty".to_owned()),
        ("t:  :read", "entry 1 (tenant t): the key is empty".to_owned()),
        ("t:canary:ADMIN", format!("entry 1 (tenant t): a scope is unknown {scopes}")),
        ("t:admin:canary", format!("entry 1 (tenant t): a scope is unknown {scopes}")),
        ("t:canary:admin||exec", "entry 1 (tenant t): a scope is empty (known: read, exec, owner, admin)".to_owned()),
        ("t:canary:|", "entry 1 (tenant t): a scope is empty (known: read, exec, owner, admin)".to_owned()),
        ("*:canary:read", "entry 1: the tenant '*' is reserved for limits".to_owned()),
        ("a=b:canary:read", "entry 1: the tenant may hold only visible ASCII characters other than ':', ',', '=' and '|'".to_owned()),
        ("t:canary canary:read", "entry 1 (tenant t): the key holds something other than visible ASCII characters".to_owned()),
        ("t:canarÿ:read", "entry 1 (tenant t): the key holds something other than visible ASCII characters".to_owned()),
        ("t:can\u{7f}ary:read", "entry 1 (tenant t): the key holds something other than visible ASCII characters".to_owned()),
        ("t:sha256:canary:read", format!("entry 1 (tenant t): {digest}")),
        ("", "holds no key".to_owned()),
        (" \n, ,", "holds no key".to_owned()),
    ] {
        assert_eq!(problems(list(text)), [format!("KEYS: {said}")], "{text:?}");
    }
    assert_eq!(problems(file("# nothing but comments\n")), ["keys: holds no key"]);
}

#[test]
fn every_problem_is_told_with_its_position() {
    assert_eq!(
        problems(file("# head\nt:ok:read, u:x:write\r\n\n  ::read\n")),
        [
            "keys:2:12: entry 2 (tenant u): a scope is unknown (known, in lower case: read, exec, owner, admin)",
            "keys:4:3: entry 3: the tenant is empty",
            "keys:4:3: entry 3: the key is empty",
        ]
    );
}

#[test]
fn json_entries_may_hold_what_lines_cannot() {
    let digest = KeyDigest::of(b"sk-b").to_hex();
    let text = format!(
        r#"
        [ {{"tenantID":"team-a","name":"ci","key":"sk,a|\u0062","scopes":["exec","admin"],
            "notBefore":"2026-01-01T00:00:00Z","expiresAt":"2027-01-01T01:00:00+01:00"}},
          {{"tenantID":"team-b","keyHash":"{digest}","scopes":["read"]}},
          {{"tenantID":"team-b","keyHash":"sha256:{digest}","scopes":["read"]}},
          {{"tenantID":"team-b","key":"sha256:{digest}","scopes":["read"]}} ]"#
    );
    assert_eq!(summary(file(&text), &["sk,a|b", "sk-b"]), TWO);
    let set = file(&text).unwrap();
    let first = find(&set, "sk,a|b");
    assert_eq!(first.name(), Some("ci"));
    assert_eq!(first.not_before(), Some(UnixTime(1_767_225_600)));
    assert_eq!(first.expires(), Some(UnixTime(1_798_761_600)));
    let second = find(&set, "sk-b");
    assert_eq!((second.name(), second.not_before(), second.expires()), (None, None, None));
}

#[test]
fn faulty_entries_of_the_json_form() {
    let known = "(known: tenantID, name, key, keyHash, scopes, notBefore, expiresAt)";
    for (text, said) in [
        ("[]", "keys: holds no key".to_owned()),
        (r#"{"tenantID":"t"}"#, "keys: the file must hold a JSON array of objects".to_owned()),
        ("[\n {]", "keys:2:3: not valid JSON: key must be a string".to_owned()),
        ("[", "keys:1:1: not valid JSON: EOF while parsing a list".to_owned()),
        ("[] canary", "keys:1:4: not valid JSON: trailing characters".to_owned()),
        (r#"["t:canary:read"]"#, "keys:1:2: entry 1: must be a JSON object".to_owned()),
        (r#"[{"key":"canary","scopes":["read"]}]"#, "keys:1:2: entry 1: the field 'tenantID' is missing".to_owned()),
        (r#"[{"tenantID":"t","scopes":["read"]}]"#, "keys:1:2: entry 1 (tenant t): the field 'key' is missing".to_owned()),
        (r#"[{"tenantID":"t","key":"canary"}]"#, "keys:1:2: entry 1 (tenant t): the field 'scopes' is missing".to_owned()),
        (r#"[{"tenantID":"t","key":"canary","scopes":[]}]"#, "keys:1:2: entry 1 (tenant t): there are no scopes (known: read, exec, owner, admin)".to_owned()),
        (r#"[{"tenantID":"t","key":"canary","scopes":"canary"}]"#, "keys:1:2: entry 1 (tenant t): the field 'scopes' must be an array of strings".to_owned()),
        (r#"[{"tenantID":"t","key":"canary","scopes":[1]}]"#, "keys:1:2: entry 1 (tenant t): the field 'scopes' must be an array of strings".to_owned()),
        (r#"[{"tenantID":"t","key":42,"scopes":["read"]}]"#, "keys:1:2: entry 1 (tenant t): the field 'key' must be a string".to_owned()),
        (r#"[{"tenantID":"t","key":"canary\n","scopes":["read"]}]"#, "keys:1:2: entry 1 (tenant t): the key holds something other than visible ASCII characters".to_owned()),
        (r#"[{"tenantID":"t","key":"canary","scopes":["read"],"canary":1}]"#, format!("keys:1:2: entry 1 (tenant t): unknown field {known}")),
        (r#"[{"tenantID":"t","key":"canary","key":"canary","scopes":["read"]}]"#, "keys:1:2: entry 1 (tenant t): the field 'key' is there twice".to_owned()),
        (r#"[{"tenantID":"t","key":"canary","scopes":["read"],"name":""}]"#, "keys:1:2: entry 1 (tenant t): the name is empty, longer than 128 characters or holds control characters".to_owned()),
        (r#"[{"tenantID":"t","key":"canary","scopes":["read"],"expiresAt":"soon"}]"#, "keys:1:2: entry 1 (tenant t): 'expiresAt' must be an RFC 3339 date since 1970, as in 2026-11-22T05:12:45Z".to_owned()),
        (r#"[{"tenantID":"t","key":"canary","scopes":["read"],"notBefore":"2026-01-01T00:00:00Z","expiresAt":"2026-01-01T00:00:00Z"}]"#, "keys:1:2: entry 1 (tenant t): 'expiresAt' is not after 'notBefore'".to_owned()),
    ] {
        assert_eq!(problems(file(text)), [said], "{text}");
    }
    let both = format!(
        r#"[{{"tenantID":"t","key":"k","keyHash":"{}","scopes":["read"]}}]"#,
        "0".repeat(64)
    );
    assert_eq!(
        problems(file(&both)),
        ["keys:1:2: entry 1 (tenant t): 'key' and 'keyHash' exclude each other"]
    );
    assert_eq!(problems(file("[{},\n  {}]")).len(), 6);
    assert!(problems(file("[{},\n  {}]"))[5].starts_with("keys:2:3: entry 2: "));
}

#[track_caller]
fn set(text: &str, previous: Option<&KeySet>) -> KeySet {
    let mut draft = KeyDraft::default();
    read_list(&mut draft, "KEYS", text);
    draft.finish(previous).unwrap()
}

#[track_caller]
fn find<'a>(set: &'a KeySet, key: &str) -> Key<'a> {
    set.find(&KeyDigest::of(key.as_bytes())).expect("known key")
}

#[test]
fn lookups() {
    let set = set("a:k1:read,b:k2:admin,a:k3:exec|read,a:k1:read", None);
    assert_eq!(set.len(), 3);
    assert_eq!(set.iter().count(), 3);
    assert!(!set.is_empty());
    let k3 = find(&set, "k3");
    assert_eq!((k3.tenant().as_str(), k3.scopes().to_string().as_str()), ("a", "exec|read"));
    assert!(set.by_id(&k3.id()).is_some_and(|found| found.digest() == k3.digest()));
    let id = k3.id().to_string();
    for other in ["0123456789abcdef", "", &id[1..], &id.to_uppercase(), &format!("+{}", &id[1..])] {
        assert!(set.by_id(&KeyId::new(other)).is_none(), "{other}");
    }
    let scopes: Vec<_> = set.of_tenant(k3.tenant()).map(|key| key.scopes().to_string()).collect();
    assert_eq!(scopes, ["read", "exec|read"]);
    assert_eq!(set.of_tenant(&TenantId::parse("c").unwrap()).count(), 0);
    assert_eq!(set.admins().map(|key| key.tenant().as_str()).collect::<Vec<_>>(), ["b"]);
    for other in ["k", "k11", "K1", "k1\n", ""] {
        assert!(set.find(&KeyDigest::of(other.as_bytes())).is_none(), "{other:?}");
    }
}

#[test]
fn nothing_is_in_an_empty_set() {
    let (set, key) = (KeySet::default(), KeyDigest::of(b"k"));
    assert!(set.is_empty() && set.find(&key).is_none() && set.iter().next().is_none());
    let tenant = TenantId::parse("a").unwrap();
    assert!(
        set.by_id(&KeyId::new(&"0".repeat(16))).is_none()
            && set.of_tenant(&tenant).next().is_none()
    );
}

#[test]
fn ids_are_stable_and_differ_by_tenant() {
    let first = set("a:k:read", None);
    assert_eq!(find(&first, "k").id().as_str(), "64050cf5716108f0");
    assert_eq!(find(&first, "k").id(), find(&set("a:k:admin", None), "k").id());
    assert_ne!(find(&first, "k").id(), find(&set("b:k:read", None), "k").id());
}

#[test]
fn entries_that_contradict_each_other() {
    for (second, what, tenant) in [("b:k:read", "tenant", "b"), ("a:k:exec", "set of scopes", "a")]
    {
        let mut draft = KeyDraft::default();
        read_list(&mut draft, "KEYS", "a:other:read,a:other:read,a:k:read");
        add_file(&mut draft, &format!("\n {second}"));
        assert_eq!(
            problems(draft.finish(None)),
            [format!(
                "keys:2:2: entry 1 (tenant {tenant}): the same key as KEYS: entry 3, with another {what}"
            )]
        );
    }
    let plain = r#"{"tenantID":"a","key":"k","scopes":["read"]"#;
    let dated = r#"{"tenantID":"a","key":"k","scopes":["read"],"expiresAt":"2027-01-01T00:00:00Z""#;
    for (first, second, what) in [
        (format!(r#"{plain},"name":"ci"}}"#), format!("{plain}}}"), "name"),
        (format!(r#"{plain},"name":"ci"}}"#), format!(r#"{plain},"name":"cd"}}"#), "name"),
        (format!("{dated}}}"), format!("{plain}}}"), "validity"),
    ] {
        assert_eq!(
            problems(file(&format!("[{first},\n{second}]"))),
            [format!(
                "keys:2:1: entry 2 (tenant a): the same key as keys:1:2: entry 1, with another {what}"
            )]
        );
        assert_eq!(file(&format!("[{first},\n{first}]")).unwrap().len(), 1);
    }
}

#[test]
fn a_key_is_as_old_as_its_entry() {
    let old = set("a:kept:read,a:gone:read,a:raised:read,a:moved:read", None);
    let new = set("b:moved:read,a:raised:admin,a:kept:read,a:new:read", Some(&old));
    assert_eq!(find(&new, "kept").since(), find(&old, "kept").since());
    assert_eq!((new.missing_from(&old), old.missing_from(&new)), (3, 4));
    for key in ["raised", "moved", "new"] {
        assert_eq!(find(&new, key).since(), new.edition(), "{key}");
    }
    let back = set("a:gone:read,a:kept:read", Some(&new));
    assert_eq!(find(&back, "gone").since(), back.edition(), "a key that returns is a new one");
    assert_eq!(find(&back, "kept").since(), old.edition());
    assert_eq!(set("a:kept:read", None).missing_from(&back), 2, "it was made after another");
}

#[test]
fn debug_output_holds_no_key_and_no_whole_digest() {
    let set = set("a:canary-key:read", None);
    let key = find(&set, "canary-key");
    let shown = format!("{set:?} {key:?} {:?}", key.digest());
    assert!(!shown.contains("canary"), "{shown}");
    assert!(!shown.contains(&key.digest().to_hex()), "{shown}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-b:,|#\\s\\[{\"\u{80}]{0,40}|\\PC*") {
        for result in [list(&text), file(&text)] {
            match result {
                Ok(set) => prop_assert!(set.iter().all(|key| !key.scopes().is_empty())),
                Err(problems) => prop_assert!(!problems.is_empty()),
            }
        }
    }

    #[test]
    fn a_key_is_found_again_and_never_told(key in "[!-+\\--~]{8,40}", shape in 0..6) {
        let json = serde_json::to_string(&key).unwrap();
        let text = match shape {
            0 => format!("t:{key}:read"),
            1 => format!("t:{key}:write"),
            2 => format!("t:read:{key}"),
            3 => format!("a=b:{key}:read"),
            4 => format!(r#"[{{"tenantID":"t","key":{json},"scopes":[{json}]}}]"#),
            _ => format!(r#"[{{"tenantID":"t",{json}:1,"scopes":["read"]}}]"#),
        };
        match file(&text) {
            Ok(set) if shape == 0 => prop_assert!(set.find(&KeyDigest::of(key.as_bytes())).is_some()),
            Ok(_) => {}
            Err(problems) => for problem in problems {
                prop_assert!(!problem.to_string().contains(&key), "{}", problem);
            },
        }
    }
}
