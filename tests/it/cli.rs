//! The commands and their exit codes.

mod audit;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::thread::JoinHandle;

use crate::support::Program;

/// A gateway that gives each of `answers` to one request, and returns the requests' heads in lower case.
fn gateway(answers: &[&'static str]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = answers.to_vec();
    let heads = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.extend(byte);
            }
            heads.push(String::from_utf8(head).unwrap().to_lowercase());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        heads
    });
    (url, heads)
}

const KNOWN: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"authenticated\":true,\"tenantID\":\"team-a\",\
    \"name\":null,\"keyID\":\"0123456789abcdef\",\"scopes\":[\"exec\"],\"effectiveScopes\":[\"exec\",\"read\"],\
    \"source\":\"static\",\"credential\":\"bearer\",\"expiresAt\":null}";
const OPEN: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"authenticated\":false,\"tenantID\":null,\
    \"scopes\":[],\"effectiveScopes\":[\"admin\",\"exec\",\"owner\",\"read\"]}";
const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n{\"code\":401,\"message\":\"no \\u001b[31mway\"}";
const ELSEWHERE: &str = "HTTP/1.1 302 Found\r\nlocation: /login\r\nconnection: close\r\n\r\n";

#[test]
fn help_and_version_go_to_standard_output() {
    for (args, text) in [
        (&["--help"][..], "--envd-upstream"),
        (&["check", "--help"], "COPPICE_API_KEYS_FILE"),
        (&["explain", "--help"], "it shows in the list of processes"),
        (&["demo", "--help"], "127.0.0.1:3000"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["completions", "bash"], "complete -F"),
        (&["completions", "fish"], "upstream-api-key-file"),
        (&["man"], ".TH coppice-gateway 1"),
    ] {
        let ended = Program::new().run(args);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{args:?}");
        let out = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(out.contains(text), "{args:?}");
    }
}

#[test]
fn wrong_usage_is_64_and_repeats_no_stray_word() {
    for args in [
        &["frobnicate"][..],
        &["--frobnicate"],
        &["--upstream"],
        &["whoami", "--token", "canary", "--token-stdin"],
        &["hash-key", "canary"],
        &["login", "canary"],
        &["check", "canary"],
        &["canary"],
        &["--upstream", "http://127.0.0.1:9", "whoami"],
    ] {
        let ended = Program::new().run(args);
        assert_eq!((ended.code, ended.out.as_str()), (64, ""), "{args:?}");
        assert!(!ended.err.is_empty() && !ended.err.contains("canary"), "{ended:?}");
    }
    let near = Program::new().run(&["chekc"]);
    assert!(near.err.contains("check"), "{near:?}");
}

#[test]
fn what_this_version_cannot_do_is_refused_by_name() {
    let upstream = ["--upstream", "http://127.0.0.1:9"];
    for flag in ["--audit-file", "--store", "--tenant-limits", "--tls-ciphers"] {
        for args in
            [&[flag, "canary"][..], &[&format!("{flag}=canary")], &["serve", flag, "canary"]]
        {
            let ended = Program::new().run(&[args, &upstream[..]].concat());
            let message = format!("error: {flag}: is not supported by this version\n");
            assert_eq!((ended.code, ended.out.as_str(), ended.err), (78, "", message), "{args:?}");
        }
    }
}

#[test]
fn a_start_without_settings_says_what_is_needed() {
    for args in [&[][..], &["serve"]] {
        let ended = Program::new().run(args);
        assert_eq!((ended.code, ended.out.as_str()), (78, ""));
        for part in ["upstream.url", "--upstream", "COPPICE_UPSTREAM", "coppice-gateway demo"] {
            assert!(ended.err.contains(part), "{part}: {ended:?}");
        }
    }
    let check = Program::new().run(&["check"]);
    assert!(!check.err.contains("demo"), "{check:?}");
}

#[test]
fn hash_key_prints_what_a_keys_file_takes() {
    let expected = "sha256:4bfe7fabc8de906cdc89971cd69e6703da4bf23ce364222512d95a3d4fb8f7d1\n";
    let program = Program::new();
    let hashes: Vec<_> = [&b"sk-canary"[..], b"sk-canary\n", b"sk-canary\r\n"]
        .iter()
        .map(|input| program.run_with_input(&["hash-key"], input))
        .collect();
    for ended in &hashes {
        assert_eq!((ended.code, ended.err.as_str(), ended.out.as_str()), (0, "", expected));
    }
    program.file("keys", &format!("a:sk-canary:read\na:{}:read", hashes[0].out.trim()));
    let check = program.run(&["check", "--upstream", "http://u", "--api-keys-file", "keys"]);
    assert!(check.out.ends_with("keys\t1 of 1 tenants\n"), "{check:?}");
}

#[test]
fn hash_key_refuses_what_could_not_be_a_key() {
    let long = "canary".repeat(700);
    for input in ["", "\n", "canary canary", "canary\n\n", "canäry", "sha256:canary", &long] {
        let ended = Program::new().run_with_input(&["hash-key"], input.as_bytes());
        assert_eq!((ended.code, ended.out.as_str()), (64, ""), "{input:?}");
        assert!(!ended.err.contains("can"), "{ended:?}");
    }
}

#[test]
fn whoami_describes_the_token() {
    let (url, heads) = gateway(&[KNOWN, KNOWN, OPEN]);
    let program = Program::new().env("COPPICE_URL", &url).env("HTTP_PROXY", "http://127.0.0.1:9");
    let ended = program.run(&["whoami", "--token", "canary"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(
        ended.out,
        "authenticated\tyes\ntenant\tteam-a\nkey\t0123456789abcdef\nscopes\texec\neffective scopes\texec, read\nsource\tstatic\n"
    );
    let json = program.run_with_input(&["whoami", "--json", "--token-stdin"], b"canary\n");
    assert!(
        json.out.starts_with("{\"authenticated\":true,\"tenantID\":\"team-a\"")
            && json.out.ends_with("}\n")
    );
    let open = program.run(&["whoami", "--token", "canary"]);
    assert!(open.out.starts_with("authenticated\tno, the gateway is open\n"), "{open:?}");
    for head in heads.join().unwrap() {
        assert!(head.starts_with("get /auth/whoami http/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: bearer canary\r\n"), "{head}");
    }
}

#[test]
fn whoami_tells_how_much_of_a_limit_is_used() {
    for (limits, line) in [
        (r#"{"maxSandboxes":2,"activeSandboxes":1}"#, "active sandboxes\t1 of 2\n"),
        (r#"{"maxSandboxes":0,"activeSandboxes":null}"#, "active sandboxes\tat most 0\n"),
        (r#"{"maxSandboxes":null,"activeSandboxes":3}"#, "active sandboxes\t3\n"),
        (r#"{"maxSandboxes":null,"activeSandboxes":null}"#, "source\tstatic\n"),
    ] {
        let with_limits = KNOWN.replace("\"expiresAt\":null", &format!("\"limits\":{limits}"));
        let (url, heads) = gateway(&[with_limits.leak()]);
        let ended = Program::new().run(&["whoami", "--token", "canary", "--url", &url]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        assert!(ended.out.ends_with(line), "{ended:?}");
        heads.join().unwrap();
    }
}

#[test]
fn one_source_gives_the_token() {
    let (url, heads) = gateway(&[KNOWN; 4]);
    let program = Program::new().env("COPPICE_URL", &url).env("E2B_API_KEY", "from-e2b");
    program.file("token", "from-file\n");
    program.run(&["whoami"]);
    let program = program.env("COPPICE_TOKEN", "from-coppice");
    program.run(&["whoami"]);
    program.run(&["whoami", "--token-file", "token"]);
    program.run(&["whoami", "--token", "from-flag"]);
    let heads = heads.join().unwrap();
    for (head, line) in heads.iter().zip([
        "x-api-key: from-e2b\r\n",
        "authorization: bearer from-coppice\r\n",
        "authorization: bearer from-file\r\n",
        "authorization: bearer from-flag\r\n",
    ]) {
        assert!(head.contains(line) && head.matches("from-").count() == 1, "{head}");
    }
}

#[test]
fn without_a_token_every_source_is_named() {
    let ended = Program::new().run(&["whoami"]);
    assert_eq!(ended.code, 64);
    for source in
        ["--token", "--token-file", "--token-stdin", "COPPICE_TOKEN", "E2B_API_KEY", "login"]
    {
        assert!(ended.err.contains(source), "{ended:?}");
    }
}

#[test]
fn a_broken_source_is_not_passed_over() {
    let program = Program::new().env("E2B_API_KEY", "canary").env("COPPICE_TOKEN", "");
    let ended = program.run(&["whoami"]);
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (78, "error: COPPICE_TOKEN: is empty; unset it or give it a value\n")
    );
    let file =
        Program::new().env("E2B_API_KEY", "canary").run(&["whoami", "--token-file", "absent"]);
    assert!(!file.err.contains("absent"), "it may be a token: {file:?}");
    assert_eq!(file.code, 1);
    let url = Program::new().run(&["whoami", "--token", "canary", "--url", "http://u:canary@host"]);
    assert_eq!(url.code, 78);
    assert!(!url.err.contains("canary"), "{url:?}");
}

#[test]
fn refusals_are_failures() {
    let (url, heads) = gateway(&[REFUSED, ELSEWHERE]);
    let program = Program::new().env("COPPICE_URL", &url).env("COPPICE_TOKEN", "canary");
    let refused = program.run(&["whoami"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("401") && !refused.err.contains('\u{1b}'), "{refused:?}");
    let redirected = program.run(&["whoami"]);
    assert_eq!(redirected.code, 1, "{redirected:?}");
    assert_eq!(heads.join().unwrap().len(), 2);
    let gone = program.run(&["whoami"]);
    assert_eq!(gone.code, 1);
    assert!(!gone.err.contains("canary"), "{gone:?}");
}

#[test]
fn login_stores_whoami_uses_logout_forgets() {
    let (url, heads) = gateway(&[KNOWN, KNOWN]);
    let program = Program::new();
    let login = program.run_with_input(&["login", "--url", &url, "--token-stdin"], b"canary\n");
    assert_eq!((login.code, login.out.as_str()), (0, ""), "{login:?}");
    assert!(login.err.contains("team-a") && !login.err.contains("canary"), "{login:?}");

    let directory = program.home.path().join(".config/coppice");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.clone()), 0o700);
    assert_eq!(mode(directory.join("credentials.json")), 0o600);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);

    assert_eq!(program.run(&["whoami"]).code, 0);
    assert!(heads.join().unwrap()[1].contains("authorization: bearer canary\r\n"));

    let elsewhere = program.run(&["whoami", "--url", "http://127.0.0.1:9"]);
    assert_eq!(elsewhere.code, 64, "a stored token goes nowhere else: {elsewhere:?}");

    assert_eq!(program.run(&["logout"]).err, "logged out\n");
    assert_eq!(program.run(&["logout"]).err, "was not logged in\n");
    assert_eq!(program.run(&["whoami"]).code, 64);
}

#[test]
fn a_token_that_is_refused_is_not_stored() {
    let (url, heads) = gateway(&[REFUSED, OPEN]);
    let program = Program::new().env("XDG_CONFIG_HOME", "/nowhere/at/all").env("COPPICE_URL", &url);
    for _ in 0..2 {
        assert_eq!(program.run(&["login", "--token", "canary"]).code, 1);
    }
    assert_eq!(heads.join().unwrap().len(), 2);
}

#[test]
fn a_login_that_others_can_read_is_not_used() {
    let (url, heads) = gateway(&[KNOWN]);
    let program = Program::new().env("COPPICE_URL", &url);
    assert_eq!(program.run(&["login", "--token", "canary"]).code, 0);
    heads.join().unwrap();
    let path = program.home.path().join(".config/coppice/credentials.json");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = program.run(&["whoami"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("other users can read it"), "{ended:?}");
}
