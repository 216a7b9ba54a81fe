//! Whatever arrives, however it is cut: valid requests come out unchanged, and nothing comes out that the server misreads.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn request() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        Just((String::new(), Vec::new())),
        vec(any::<u8>(), 0..300)
            .prop_map(|body| { (format!("Content-Length: {}\r\n", body.len()), body) }),
        vec(vec(any::<u8>(), 1..40), 0..6).prop_map(|chunks| {
            let mut body = Vec::new();
            for chunk in chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            ("Transfer-Encoding: chunked\r\n".to_owned(), body)
        }),
    ];
    let fields = vec("[a-z-]{1,12}", 0..5);
    ("[A-Z]{3,7}", "/[a-z0-9/%?]{0,30}", fields, body).prop_map(|(method, path, names, body)| {
        // The prefix keeps made-up names from meaning something.
        let fields: String = names.iter().map(|name| format!("x-{name}: {name}\r\n")).collect();
        let head = format!("X{method} {path} HTTP/1.1\r\n{fields}Host: h\r\n{}\r\n", body.0);
        [head.into_bytes(), body.1].concat()
    })
}

/// Text made of the pieces that matter to framing, so that much of it nearly passes.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "GET / HTTP/1.1\r\n",
        "POST /a HTTP/1.0\r\n",
        "Host: h\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "\n",
        "\r",
        "3\r\n",
        "abc",
        "0\r\n\r\n",
        " ",
        ":",
        "\0",
        "Upgrade: websocket\r\n",
        "Upgrade: tcp\r\n",
        "Connection: upgrade\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "SM\r\n\r\n",
        "x: y\r\n",
    ];
    vec(proptest::sample::select(words.to_vec()), 0..14)
        .prop_map(|words| words.concat().into_bytes())
}

/// Follows what came out as the server's own parser reads it.
fn assert_server_reads(mut rest: &[u8]) {
    if rest.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
        return;
    }
    while !rest.is_empty() {
        let mut space = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut space);
        let parsed = request.parse(rest).unwrap();
        let body = &rest[parsed.unwrap()..];
        assert!(http::Uri::try_from(request.path.unwrap()).is_ok());
        let field = |name: &str| {
            let mut found = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
            let first = found.next().map(|field| str::from_utf8(field.value).unwrap().to_owned());
            assert!(found.next().is_none() || name == "upgrade", "{name} twice");
            first
        };
        rest = match (field("transfer-encoding"), field("content-length")) {
            (Some(_), Some(_)) => panic!("two lengths"),
            (Some(_), None) => {
                let mut body = body;
                loop {
                    let Ok(httparse::Status::Complete((skip, size))) =
                        httparse::parse_chunk_size(body)
                    else {
                        return;
                    };
                    let Some(after) = body.get(skip + size as usize..) else { return };
                    if size == 0 {
                        break after.get(2..).unwrap_or_default();
                    }
                    let Some(next) = after.get(2..) else { return };
                    body = next;
                }
            }
            (None, length) => {
                let length = length.map_or(0, |length| length.trim().parse().unwrap());
                body.get(length..).unwrap_or_default()
            }
        };
    }
}

proptest! {
    #[test]
    fn valid_requests_come_out_unchanged(
        requests in vec(request(), 1..6),
        places in vec(any::<usize>(), 0..12),
        room in 1_usize..9000,
    ) {
        let runtime = still_clock();
        let _context = runtime.enter();
        let sent = requests.concat();
        let (out, end) = feed(cut(&sent, &places), room);
        prop_assert_eq!(end, End::Silent);
        prop_assert_eq!(out, sent);
    }

    #[test]
    fn whatever_comes_out_is_read_alike_by_the_server(
        sent in prop_oneof![nearly_http(), vec(any::<u8>(), 0..200)],
        places in vec(any::<usize>(), 0..12),
        room in 1_usize..3000,
    ) {
        let runtime = still_clock();
        let _context = runtime.enter();
        let (whole, whole_end) = feed([sent.clone()], 8192);
        assert_server_reads(&whole);
        let (out, end) = feed(cut(&sent, &places), room);
        prop_assert_eq!((out, end), (whole, whole_end));
    }

    #[test]
    fn damaged_requests_never_confuse_it(
        requests in vec(request(), 1..4),
        damage in vec((any::<usize>(), any::<u8>()), 1..4),
        places in vec(any::<usize>(), 0..6),
    ) {
        let runtime = still_clock();
        let _context = runtime.enter();
        let mut sent = requests.concat();
        for (place, byte) in damage {
            let place = place % sent.len();
            sent[place] = byte;
        }
        let (whole, whole_end) = feed([sent.clone()], 8192);
        assert_server_reads(&whole);
        prop_assert_eq!(feed(cut(&sent, &places), 100), (whole, whole_end));
    }
}
