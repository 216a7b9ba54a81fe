//! Clients that others wrote: openssl, curl, a WebSocket library.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use coppice_gateway::simulator::Plane;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::{api, world};
use crate::support::authority::Authority;
use crate::support::tls::{Secure, client};
use crate::support::wait::run;
use crate::support::world::{DOMAIN, key};
use crate::support::{Ask, World};

/// What `openssl s_client` says when it sends a request through a connection that it makes with these arguments.
fn openssl(address: SocketAddr, authority: &Authority, arguments: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-verify_return_error", "-servername", &api()]);
    command.args(["-connect", &address.to_string()]).arg("-CAfile").arg(authority.file());
    command.args(arguments.split_ascii_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl must be installed");
    // It may have gone already.
    let _ = child.stdin.take().unwrap().write_all(&Ask::get("/health").host(&api()).bytes(address));
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn versions_from_1_2_on_are_spoken() {
    let (authority, world) = world();
    for (arguments, version) in
        [("", "TLSv1.3"), ("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2"), ("-no_tls1_3", "TLSv1.2")]
    {
        let said = openssl(world.control(), &authority, arguments);
        assert!(said.contains(&format!("New, {version}, Cipher is ")), "{arguments}: {said}");
        assert!(said.contains("HTTP/1.1 204 "), "{arguments}: {said}");
    }
    for version in ["-tls1_1", "-tls1"] {
        // So that openssl itself has nothing against it.
        let arguments = format!("{version} -cipher DEFAULT:@SECLEVEL=0");
        let said = openssl(world.control(), &authority, &arguments);
        assert!(said.contains(":SSL alert number ") && !said.contains("HTTP/1.1"), "{said}");
    }
}

#[test]
fn the_protocol_is_agreed_upon() {
    let (authority, world) = world();
    for (offered, agreed) in [
        ("-alpn h2,http/1.1", "ALPN protocol: h2\n"),
        ("-alpn http/1.1,h2", "ALPN protocol: h2\n"),
        ("-alpn http/1.1", "ALPN protocol: http/1.1\n"),
        ("", "No ALPN negotiated"),
    ] {
        let said = openssl(world.control(), &authority, offered);
        assert!(said.contains(agreed), "{offered}: {said}");
    }
    let said = openssl(world.control(), &authority, "-alpn h3");
    assert!(said.contains("alert no application protocol"), "{said}");
}

#[test]
fn a_session_is_resumed_until_a_reload() {
    let (authority, world) = world();
    let kept = authority.file().with_file_name("session");
    for version in ["-tls1_3", "-tls1_2"] {
        let with = |what: &str| {
            let arguments = format!("{version} {what} {}", kept.display());
            openssl(world.control(), &authority, &arguments)
        };
        assert!(with("-sess_out").contains("HTTP/1.1 204 "));
        // More often than there are workers: they share what they know.
        for _ in 0..4 {
            let said = with("-sess_in");
            assert!(said.contains("Reused, ") && said.contains("HTTP/1.1 204 "), "{said}");
        }
        world.gateway.reload();
        let said = with("-sess_in");
        assert!(said.contains("New, ") && said.contains("HTTP/1.1 204 "), "{said}");
    }
}

/// What curl says when it asks for `https://<host><path>`: the version of HTTP, the status, and the body.
fn curl(
    world: &World,
    authority: &Authority,
    host: &str,
    path: &str,
    arguments: &[&str],
) -> String {
    let port = world.control().port();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
        .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
        .args(["--write-out", "\n%{http_version} %{http_code}", "--cacert"])
        .arg(authority.file())
        .args(arguments)
        .arg(format!("https://{host}:{port}{path}"))
        .output()
        .expect("curl must be installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn curl_is_served_in_both_versions_of_http() {
    let (authority, world) = world();
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).host(&api());
    let create = create.key(&key("exec"));
    let created = Secure::open(world.control(), &authority, &api()).ask(&create).json();
    let text = |name: &str| created[name].as_str().unwrap().to_owned();
    let (id, token) = (text("sandboxID"), text("envdAccessToken"));
    let body = authority.file().with_file_name("body");
    fs::write(&body, vec![b'x'; 5 << 20]).unwrap();
    for (version, shown) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let header = format!("X-API-Key: {}", key("read"));
        let said = curl(&world, &authority, &api(), "/templates", &[version, "-H", &header]);
        assert!(said.ends_with(&format!("\n{shown} 200")), "{said}");
        let reached = world.reached(Plane::Control).pop().unwrap();
        let told = |name: &str| {
            let found = reached.headers.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.clone()).unwrap()
        };
        assert_eq!(told("x-forwarded-proto"), "https");
        assert_eq!(told("x-forwarded-host"), format!("{}:{}", api(), world.control().port()));
        assert_eq!(told("x-forwarded-for"), "127.0.0.1");

        let host = format!("8080-{id}.{DOMAIN}");
        let (header, body) = (format!("X-Access-Token: {token}"), format!("@{}", body.display()));
        let arguments = [version, "-H", &header, "--data-binary", &body];
        let said = curl(&world, &authority, &host, "/p", &arguments);
        let (echo, end) = said.rsplit_once('\n').unwrap();
        assert_eq!(end, format!("{shown} 200"), "{said}");
        let echo: serde_json::Value = serde_json::from_str(echo).unwrap();
        assert_eq!(echo["bodyLength"], 5 << 20);
    }
}

#[test]
fn websockets_go_through() {
    let (authority, world) = world();
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).host(&api());
    let create = create.key(&key("exec"));
    let created = Secure::open(world.control(), &authority, &api()).ask(&create).json();
    let text = |name: &str| created[name].as_str().unwrap().to_owned();
    let host = format!("8080-{}.{DOMAIN}", text("sandboxID"));
    run(async {
        let socket = TcpStream::connect(world.control()).await.unwrap();
        let connector = TlsConnector::from(Arc::new(client(&authority, None)));
        let name = ServerName::try_from(host.clone()).unwrap();
        let secure = connector.connect(name, socket).await.unwrap();
        let mut request = format!("wss://{host}/ws").into_client_request().unwrap();
        let token = text("envdAccessToken").parse().unwrap();
        request.headers_mut().insert("x-access-token", token);
        let (mut talk, _) = client_async(request, secure).await.unwrap();
        for size in [0, 1, 70_000, 1 << 20] {
            let message = Message::binary(vec![7; size]);
            talk.send(message.clone()).await.unwrap();
            assert_eq!(talk.next().await.unwrap().unwrap(), message, "{size}");
        }
        talk.close(None).await.unwrap();
        assert!(matches!(talk.next().await, Some(Ok(Message::Close(_)))));
        assert!(talk.next().await.is_none());
    });
}
