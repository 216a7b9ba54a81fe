//! Signed file URLs: what SDKs compute opens exactly that, and nothing beside it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use coppice_gateway::simulator::Plane;
use sha2::{Digest as _, Sha256};

use crate::support::keys_file::KeysFile;
use crate::support::upstream::Upstream;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{self, DOMAIN};
use crate::support::{Answer, Ask, Wire, World};

/// A signature as SDKs compute it, not yet encoded for a query.
pub(crate) fn sign(
    path: &str,
    operation: &str,
    user: &str,
    token: &str,
    until: Option<&str>,
) -> String {
    let until = until.map_or(String::new(), |until| format!(":{until}"));
    let digest = Sha256::digest(format!("{path}:{operation}:{user}:{token}{until}"));
    format!("v1_{}", STANDARD_NO_PAD.encode(digest))
}

/// As `encodeURIComponent` and Python's `quote`.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[expect(clippy::disallowed_methods, reason = "a signature's expiration is about the real clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

struct Files {
    world: World,
    id: String,
    token: String,
}

impl Files {
    fn new() -> Self {
        let world = World::new();
        let (id, token) = world.create("exec");
        Self { world, id, token }
    }

    fn host(&self) -> String {
        format!("49983-{}.{DOMAIN}", self.id)
    }

    fn query(&self, path: &str, operation: &str, user: &str, until: Option<&str>) -> String {
        let signature = encode(&sign(path, operation, user, &self.token, until));
        let user = if user.is_empty() { String::new() } else { format!("&username={user}") };
        let until = until.map_or(String::new(), |until| format!("&signature_expiration={until}"));
        format!("path={}{user}&signature={signature}{until}", encode(path))
    }

    fn send(&self, method: &str, path_and_query: &str) -> Answer {
        let ask = Ask::new(method, path_and_query).host(&self.host());
        let ask = if method == "POST" {
            ask.header("Content-Type", "application/octet-stream").body("content")
        } else {
            ask
        };
        ask.send(self.world.control())
    }

    fn reached_sandbox(&self) -> usize {
        self.world.reached(Plane::Data).len()
    }
}

#[test]
fn what_sdks_sign_is_good_for_exactly_that() {
    let files = Files::new();
    let (real, _) = files.world.simulator.tokens_of(&files.id).unwrap();
    let later = (now() + 600).to_string();
    for (path, user, until) in [
        ("/home/user/a", "user", None),
        ("/home/user/a", "", None),
        ("/tmp/a b+c&d=é", "root", Some(later.as_str())),
        ("relative", "", Some(&later)),
    ] {
        let write = files.query(path, "write", user, until);
        let read = files.query(path, "read", user, until);
        let spaces_as_plus = |query: &str| query.replace("%20", "+");
        for query in [write.clone(), spaces_as_plus(&write)] {
            let answer = files.send("POST", &format!("/files?{query}"));
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        for query in [read.clone(), spaces_as_plus(&read)] {
            files.world.simulator.clear_requests();
            let answer = files.send("GET", &format!("/files?{query}"));
            assert_eq!((answer.status, answer.text().as_str()), (200, "content"), "{path}");
            let sent = files.world.simulator.requests().pop().unwrap();
            assert!(!sent.path.contains("signature"), "{}", sent.path);
            assert!(query.starts_with(sent.path.strip_prefix("/files?").unwrap()), "{}", sent.path);
            assert_eq!(sent.header("x-access-token"), Some(real.as_str()));
            assert_eq!(files.send("HEAD", &format!("/files?{query}")).status, 200);
        }
        assert_eq!(files.send("POST", &format!("/files?{read}")).status, 401);
        assert_eq!(files.send("GET", &format!("/files?{write}")).status, 401);
        assert_eq!(files.send("HEAD", &format!("/files?{write}")).status, 401);
    }
    // An upload URL without a path; the form's file name says where.
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/tmp/f\"\r\n\r\nx\r\n--b--\r\n";
    let signature = encode(&sign("", "write", "", &files.token, None));
    let ask = Ask::new("POST", &format!("/files?signature={signature}")).host(&files.host());
    let ask = ask.header("Content-Type", "multipart/form-data; boundary=b").body(form);
    let answer = ask.send(files.world.control());
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Beside Basic, which is envd's user name and no credential here.
    let query = files.query("/tmp/f", "read", "", None);
    let ask = Ask::get(&format!("/files?{query}")).host(&files.host());
    let ask = ask.header("Authorization", "Basic dXNlcjo=");
    assert_eq!(ask.send(files.world.control()).status, 200);
}

#[test]
fn anything_touched_is_refused() {
    let files = Files::new();
    let (path, user) = ("/tmp/f", "root");
    let soon = (now() + 600).to_string();
    let good = files.query(path, "read", user, Some(&soon));
    let stored = Ask::new("POST", &format!("/files?{}", files.query(path, "write", user, None)));
    let stored = stored.host(&files.host()).header("Content-Type", "application/octet-stream");
    assert_eq!(stored.body("x").send(files.world.control()).status, 200);
    assert_eq!(files.send("GET", &format!("/files?{good}")).status, 200);
    files.world.simulator.clear_requests();

    let signature = sign(path, "read", user, &files.token, Some(&soon));
    let digest = STANDARD_NO_PAD.decode(signature.trim_start_matches("v1_")).unwrap();
    let with_signature = |signature: &str| {
        format!(
            "path=%2Ftmp%2Ff&username=root&signature={}&signature_expiration={soon}",
            encode(signature)
        )
    };
    let at = |until: &str| files.query(path, "read", user, Some(until));
    let mut bad = vec![
        good.replace("%2Ff", "%2Fg"),
        good.replace("%2Ff", "%2Ff%2F"),
        good.replace("root", "user"),
        good.replace("&username=root", ""),
        good.replace(&soon, &(now() + 601).to_string()),
        good.replace(&format!("&signature_expiration={soon}"), ""),
        format!("{good}&path=%2Ftmp%2Ff"),
        format!("{good}&path=%2Fetc%2Fpasswd"),
        format!("path=%2Fetc%2Fpasswd&{good}"),
        format!("{good}&username=user"),
        format!("{good}&signature=v1_AAAA"),
        format!("{good}&signature_expiration=9999999999"),
        format!("{good}&%70ath=%2Fetc%2Fpasswd"),
        format!("{good}&us%65rname=user"),
        files.query(path, "write", user, Some(&soon)),
        at(&(now() - 1).to_string()),
        at("-1"),
        at("+99999999999"),
        at("99999999999999999999999999"),
        at("1e99"),
        at("0x7fffffffffff"),
        at("9999999999.0"),
        at("%209999999999"),
        at("never"),
        at(""),
        with_signature(""),
        with_signature("v1_"),
        with_signature(&signature.replace("v1_", "v2_")),
        with_signature(&signature.replace("v1_", "")),
        with_signature(&signature.replace("v1_", "V1_")),
        with_signature(&format!("{signature}A")),
        with_signature(&format!("v1_{}", STANDARD.encode(&digest))),
        with_signature(&sign(path, "read", user, &files.token.to_uppercase(), Some(&soon))),
        with_signature(&sign(path, "read", user, "", Some(&soon))),
        with_signature(&sign(path, "read", user, &files.world.key("exec"), Some(&soon))),
        // A `+` that was not encoded is a space.
        "path=%2Ftmp%2Ff&signature=v1_+++++++++++++++++++++++++++++++++++++++++++".to_owned(),
        "path=%2Ftmp%2Ff&signature".to_owned(),
        "path=%2Ftmp%2Ff".to_owned(),
    ];
    // The same digest in the other alphabet is the same text only where it holds neither of the two letters.
    let url_safe = format!("v1_{}", URL_SAFE_NO_PAD.encode(&digest));
    if url_safe != signature {
        bad.push(with_signature(&url_safe));
    }
    for query in bad {
        let answer = files.send("GET", &format!("/files?{query}"));
        assert_eq!(answer.status, 401, "{query}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(files.reached_sandbox(), 0);
}

#[test]
fn a_signature_is_for_one_sandbox() {
    let files = Files::new();
    let (sibling, _) = files.world.create("exec");
    let (foreign, _) = files.world.create("other");
    let query = files.query("/tmp/f", "read", "", None);
    for id in [sibling.as_str(), &foreign, "i0000000000000000000"] {
        let ask = Ask::get(&format!("/files?{query}")).host(&format!("49983-{id}.{DOMAIN}"));
        let answer = ask.send(files.world.control());
        assert_eq!((answer.status, answer.code().as_str()), (401, "bad_signature"), "{id}");
    }
    assert_eq!(files.reached_sandbox(), 0);
}

#[test]
fn a_signature_is_for_files_and_nothing_else() {
    let files = Files::new();
    let read = files.query("/tmp/f", "read", "", None);
    let write = files.query("/tmp/f", "write", "", None);
    for (method, path, query) in [
        ("POST", "/files/compose", &write),
        ("PUT", "/files", &write),
        ("DELETE", "/files", &write),
        ("PATCH", "/files", &write),
        ("GET", "/files/", &read),
        ("GET", "/envs", &read),
        ("GET", "/metrics", &read),
        ("GET", "/health", &read),
        ("POST", "/process.Process/List", &write),
    ] {
        let answer = files.send(method, &format!("{path}?{query}"));
        assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
    }
    for port in [49999, 8080] {
        let ask =
            Ask::get(&format!("/files?{read}")).host(&format!("{port}-{}.{DOMAIN}", files.id));
        assert_eq!(ask.send(files.world.control()).status, 401, "{port}");
    }
    // Nor does it help a credential that is wrong.
    let named = || Ask::get(&format!("/files?{read}")).host(&files.host());
    for ask in [
        named().key("sk-wrong"),
        named().bearer("wrong"),
        named().header("X-Access-Token", "wrong"),
    ] {
        assert_eq!(ask.send(files.world.control()).status, 401);
    }
    assert_eq!(named().key(&files.world.key("read")).send(files.world.control()).status, 403);
    assert_eq!(files.reached_sandbox(), 0);
}

#[test]
fn a_url_that_names_no_sandbox_says_what_to_do() {
    // As SDKs make them under E2B_SANDBOX_URL.
    let files = Files::new();
    let read = format!("/files?{}", files.query("/tmp/f", "read", "", None));
    let shared = format!("sandbox.{DOMAIN}");
    for (address, ask) in [
        (files.world.control(), Ask::get(&read)),
        (files.world.data(), Ask::get(&read)),
        (files.world.gateway.address("port=49983"), Ask::get(&read)),
        (files.world.control(), Ask::get(&read).host(&shared)),
    ] {
        let answer = ask.send(address);
        assert_eq!(answer.status, 400, "{ask:?}: {}", answer.text());
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("E2B_DOMAIN"), "{message}");
    }
    assert_eq!(files.reached_sandbox(), 0);
}

#[test]
fn a_replica_that_minted_nothing_finds_the_signer() {
    let files = Files::new();
    let replica = files.world.replica();
    files.send("POST", &format!("/files?{}", files.query("/tmp/f", "write", "", None)));
    let query = files.query("/tmp/f", "read", "", None);
    let ask = Ask::get(&format!("/files?{query}")).host(&files.host());
    let answer = ask.send(replica.control());
    assert_eq!((answer.status, answer.text().as_str()), (200, "content"));
}

#[test]
fn a_signature_dies_with_its_key() {
    let secret = "e2b_1111111111111111111111111111111111111111";
    let file = KeysFile::new(&format!("team-a:{secret}:exec"));
    let world = file.world();
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key(secret);
    let created = create.send(world.control()).json();
    let text = |name: &str| created[name].as_str().unwrap().to_owned();
    let files = Files { id: text("sandboxID"), token: text("envdAccessToken"), world };
    let write = format!("/files?{}", files.query("/tmp/f", "write", "", None));
    assert_eq!(files.send("POST", &write).status, 200);
    // Reading only, it could not have been given the token.
    file.reload(&files.world.gateway, &format!("team-a:{secret}:read"));
    assert_eq!(files.send("POST", &write).status, 401);
    file.reload(&files.world.gateway, "team-a:e2b_2222222222222222222222222222222222222222:exec");
    files.world.gateway.wait_for_log(&["reloaded; settings", "\"revoked\":1"]);
    assert_eq!(files.send("POST", &write).status, 401);
}

#[test]
fn strangers_who_make_the_gateway_ask_do_not_stand_in_the_way_of_known_sandboxes() {
    let upstream = Upstream::start(|_, talk| {
        while let Some(head) = talk.request() {
            if head.starts_with("GET /sandboxes/") {
                return talk.stall();
            }
            let json = r#"{"sandboxID":"i1","envdAccessToken":"real"}"#;
            let length = json.len();
            talk.send(format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n\r\n{json}"));
        }
    });
    let gateway = upstream.gateway_with(|setup| {
        let setup = setup.env("COPPICE_API_KEYS", world::key_list());
        setup.flag("--upstream-lookup-timeout=60s")
    });
    let create = Ask::post("/sandboxes", "{}").key(&world::key("exec")).send(gateway.control());
    let token = create.json()["envdAccessToken"].as_str().unwrap().to_owned();
    let signed = |id: &str| {
        let signature = encode(&sign("/a", "read", "", &token, None));
        let path = format!("/files?path=/a&signature={signature}");
        Ask::get(&path).host(&format!("49983-{id}.{DOMAIN}"))
    };
    // As many as may be asked about at once for people whom nobody knows.
    let hold = |n| {
        let mut wire = Wire::open(gateway.control());
        wire.send(&signed(&format!("unknown{n}")).bytes(gateway.control()));
        wire
    };
    let held: Vec<_> = (0..32).map(hold).collect();
    eventually("all are asked about", PATIENCE, || {
        upstream.requests().iter().filter(|head| head.contains("/unknown")).count() == 32
    });
    assert_eq!(signed("unknown33").send(gateway.control()).status, 503);
    assert_eq!(signed("i1").send(gateway.control()).status, 201);
    drop(held);
}
