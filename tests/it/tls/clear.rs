//! Whoever speaks no TLS where the gateway does.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::{api, templates, world, world_with};
use crate::support::tls::{Secure, client};
use crate::support::{Answer, Wire, exchange};

#[test]
fn http_in_clear_text_is_told_so_and_nothing_of_it_goes_further() {
    let (_, world) = world();
    let small = templates().bytes(world.control());
    let large = templates().body(vec![b'x'; 200_000]).bytes(world.control());
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for sent in [&small[..], &large, preface, b"GET"] {
        for address in [world.control(), world.data()] {
            let answer = Answer::parse(&exchange(address, sent));
            assert_eq!((answer.status, answer.code().as_str()), (400, "tls_required"));
            let message = "This port speaks TLS: ask for https:// in place of http://";
            assert_eq!(answer.json()["message"], message);
            assert_eq!(answer.header("connection"), Some("close"));
        }
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn anything_else_is_closed_without_a_word() {
    let (_, world) = world();
    for sent in
        [&b"\x00"[..], b"\x80\x2e\x01\x03\x01", b"\x15\x03\x01\x00\x02\x01\x00", b"\n", b"get"]
    {
        let mut wire = Wire::open(world.control());
        wire.send(sent);
        assert_eq!(wire.until_closed(crate::support::wait::PATIENCE), b"", "{sent:?}");
    }
}

#[test]
fn what_only_begins_like_tls_gets_an_alert() {
    let (_, world) = world();
    // A decoding error (RFC 8446 6): no record, one that is too long, messages without a content.
    let alert = &[0x15, 3, 3, 0, 2, 2, 50];
    for (sent, expected) in [
        (&b"\x16GET / HTTP/1.1\r\n\r\n"[..], &alert[..]),
        (b"\x16\x03\x03\xff\xff", alert),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", alert),
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", alert),
        // Of what has not come to its end nothing can be said.
        (b"\x16\x03\x01\x00\x05GET /", b""),
        (b"\x16\x03\x01\x00\x01", b""),
    ] {
        let mut wire = Wire::open(world.control());
        wire.send(sent);
        wire.finish();
        assert_eq!(wire.until_finished(), expected, "{sent:?}");
    }
}

#[test]
fn what_was_agreed_upon_is_spoken_and_nothing_else() {
    let (authority, world) = world();
    let request = templates().bytes(world.control());
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let heard = |agreed: Option<&[u8]>, sent: &[u8]| {
        let mut config = client(&authority, None);
        config.alpn_protocols = agreed.map(<[u8]>::to_vec).into_iter().collect();
        let mut client = Secure::with(world.control(), config, &api()).unwrap();
        client.send(sent).unwrap();
        client.next(9)
    };
    // An answer begins so, and HTTP/2 with its settings.
    let is_settings = |heard: Vec<u8>| heard.len() == 9 && heard[3] == 4;
    for agreed in [None, Some(&b"http/1.1"[..])] {
        assert_eq!(heard(agreed, &request), b"HTTP/1.1 ");
    }
    for agreed in [None, Some(&b"h2"[..])] {
        assert!(is_settings(heard(agreed, preface)));
    }
    let reached = world.simulator.requests().len();
    assert_eq!(heard(Some(b"h2"), &request), b"");
    assert!(!is_settings(heard(Some(b"http/1.1"), preface)));
    assert_eq!(world.simulator.requests().len(), reached);
}

#[test]
fn a_unix_socket_stays_in_clear_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let listen = format!("--listen=127.0.0.1:0,unix:{}", path.display());
    let (_authority, world) = world_with(|setup| setup.without("--listen=").flag(listen));
    let mut local = UnixStream::connect(path).unwrap();
    local.write_all(&templates().bytes(world.control())).unwrap();
    let mut answer = Vec::new();
    local.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer).status, 200);
}
