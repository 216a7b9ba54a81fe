//! What is for one hop only ends there, both ways; trailers pass, and say no more than a head may.

use crate::support::world::{DOMAIN, key};
use crate::support::{Answer, Ask, Upstream, World, exchange};

#[test]
fn hop_by_hop_headers_end_at_the_gateway_both_ways() {
    let upstream = Upstream::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Secret\r\nConnection: x-other\r\n\
         X-Secret: 1\r\nX-Other: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nProxy-Connection: x\r\n\
         Upgrade: h2c\r\nTE: trailers\r\nX-Coppice-Tenant: forged\r\nx_coppice.scopes: admin\r\nX-Request-Id: forged\r\n\
         X-Next-Token: kept\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok",
    );
    let gateway = upstream.gateway();
    let ask = Ask::get("/templates")
        .key(&key("read"))
        .header("Connection", "x-one,\tX-TWO")
        .header("Connection", "close, , x-three")
        .header("X-One", "gone")
        .header("x-two", "gone")
        .header("X-Three", "gone")
        .header("X-Four", "kept")
        .header("Keep-Alive", "gone")
        .header("Proxy-Connection", "gone")
        .header("Proxy-Authorization", "Basic gone")
        .header("Upgrade", "gone")
        .header("HTTP2-Settings", "gone")
        .header("TE", "gzip, trailers");
    let answer = ask.send(gateway.control());
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let request = &upstream.requests()[0].to_ascii_lowercase();
    assert!(!request.contains("gone") && !request.contains("\r\nconnection:"), "{request}");
    assert!(request.contains("x-four: kept\r\n"), "{request}");
    assert!(request.contains("\r\nte: trailers\r\n"), "{request}");

    let kept: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "x-secret",
        "x-other",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "upgrade",
        "te",
        "x-coppice-tenant",
        "x_coppice.scopes",
    ] {
        assert!(!kept.contains(&name), "{name} in {kept:?}");
    }
    assert_ne!(answer.header("x-request-id"), Some("forged"));
    assert_eq!(answer.header("x-next-token"), Some("kept"));
    assert_eq!(kept.iter().filter(|name| **name == "set-cookie").count(), 2);
}

#[test]
fn te_trailers_stays_where_connection_lists_it_and_nothing_else_does() {
    let upstream = Upstream::always("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gateway = upstream.gateway();
    let cases: [(&[&str], bool); 5] = [
        (&["trailers"], true),
        (&["gzip;q=0.5, Trailers"], true),
        (&["gzip", "trailers"], true),
        (&["gzip, chunked"], false),
        (&["trailersx"], false),
    ];
    for (lines, expected) in cases {
        let ask = Ask::get("/templates").key(&key("read")).header("Connection", "TE");
        let ask = lines.iter().fold(ask, |ask, line| ask.header("TE", line));
        assert_eq!(ask.send(gateway.control()).status, 200);
        let request = upstream.requests().pop().unwrap().to_ascii_lowercase();
        let te: Vec<&str> = request.lines().filter(|line| line.starts_with("te:")).collect();
        let wanted: &[&str] = if expected { &["te: trailers"] } else { &[] };
        assert_eq!(te, wanted, "{lines:?}");
    }
}

#[test]
fn request_trailers_pass_but_not_under_reserved_names() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let trailers = [
        "X-Checksum: abc",
        "X-API-Key: forged",
        "X-Coppice-Tenant: forged",
        "X_Coppice_Tenant: forged",
        "X-Forwarded-For: forged",
        "Forwarded: forged",
        "X-Access-Token: forged",
        "Authorization: forged",
        "Transfer-Encoding: forged",
        "Host: forged",
        "Content-Length: 7",
    ];
    let names: Vec<&str> = trailers.iter().map(|line| line.split_once(':').unwrap().0).collect();
    let request = format!(
        "POST /any HTTP/1.1\r\nHost: 8080-{id}.{DOMAIN}\r\nX-Access-Token: {token}\r\nTrailer: {}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n{}\r\n\r\n",
        names.join(", "),
        trailers.join("\r\n"),
    );
    let answer = Answer::parse(&exchange(world.control(), request.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["bodyLength"], 5);
    assert_eq!(json["trailers"], serde_json::json!([["x-checksum", "abc"]]));
    assert!(!json["headers"].to_string().contains("forged"), "{json}");
}

#[test]
fn answer_trailers_pass_but_not_under_the_gateways_names() {
    let upstream = Upstream::always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status, x-coppice-tenant, connection\r\n\r\n\
         2\r\nok\r\n0\r\ngrpc-status: 0\r\nx-coppice-tenant: forged\r\nconnection: forged\r\n\r\n",
    );
    let gateway = upstream.gateway();
    let ask = Ask::get("/templates").key(&key("read")).header("TE", "trailers");
    let answer = exchange(gateway.control(), &ask.bytes(gateway.control()));
    let text = String::from_utf8(answer).unwrap();
    assert!(text.ends_with("0\r\ngrpc-status: 0\r\n\r\n"), "{text}");
    assert!(!text.contains("forged"), "{text}");
}

#[test]
fn no_upstream_leaves_a_client_on_a_stray_switch_of_protocols() {
    let upstream = Upstream::always(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    );
    let gateway = upstream.gateway();
    let plain = Ask::get("/templates").key(&key("exec"));
    let websocket = Ask::get("/vscode-proxy")
        .key(&key("admin"))
        .header("Connection", "upgrade")
        .header("Upgrade", "websocket");
    for ask in [plain, websocket] {
        let answer = ask.send(gateway.control());
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "upstream_bad_answer"),
            "{ask:?}"
        );
    }
}
