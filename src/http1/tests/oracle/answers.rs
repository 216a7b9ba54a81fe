//! What upstreams say: mostly sound, often odd, sometimes wrong.

use http::Method;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Exchange, Oddity};

/// An answer's fields and body, as far as the one is about the other.
#[derive(Clone, Debug, Default)]
struct Framed {
    fields: Vec<String>,
    body: Vec<u8>,
    oddities: Vec<Oddity>,
}

/// One exchange.
pub(super) fn exchanges() -> impl Strategy<Value = Exchange> {
    let request = select(vec![
        (Method::GET, false),
        (Method::GET, false),
        (Method::HEAD, false),
        (Method::POST, true),
        (Method::DELETE, false),
    ]);
    let end = prop_oneof![
        8 => Just(&b""[..]),
        1 => Just(&b"\r\n"[..]),
        1 => Just(&b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..]),
    ];
    let piece = prop_oneof![Just(usize::MAX), 1_usize..4, 4_usize..60];
    let how = (vec(piece, 1..4), weighted(0.1, any::<Index>()), any::<Index>());
    let head = (vec(interim(), 0..3), status(), vec(field(), 0..4), line_end());
    (request, head, framed(), end, how, prop::bool::weighted(0.2)).prop_map(
        |((method, uploads), head, framed, end, (pieces, cut, place), closes)| {
            let (interims, (line, status), mut fields, line_end) = head;
            let Framed { fields: framing, body, mut oddities } = framed;
            let place = place.index(fields.len() + 1);
            fields.splice(place..place, framing);
            let is_bodiless = method == Method::HEAD || matches!(status, 204 | 304);
            if is_bodiless {
                oddities.extend([Oddity::IdleLength, Oddity::IdleCoding]);
            }
            let mut answer: Vec<u8> = interims.concat().into_bytes();
            for line in std::iter::once(&line).chain(&fields) {
                // Every character is a byte here, so that there are some that are no ASCII.
                answer.extend(line.chars().map(|c| u8::try_from(c).unwrap()));
                answer.extend_from_slice(line_end.as_bytes());
            }
            answer.extend_from_slice(line_end.as_bytes());
            if !is_bodiless {
                answer.extend(body);
            }
            answer.extend_from_slice(end);
            if let Some(cut) = cut {
                answer.truncate(cut.index(answer.len() + 1));
            }
            Exchange { method, uploads, answer, pieces, closes, oddities }
        },
    )
}

/// One with some bytes that were put in, taken out or changed.
pub(super) fn mutated() -> impl Strategy<Value = Exchange> {
    let byte = prop_oneof![select(b"\r\n\t ,;:0123456789aAfF-xX\0\x7f\xff".to_vec()), any::<u8>(),];
    let change = (any::<Index>(), 0..3, byte);
    (exchanges(), vec(change, 1..4)).prop_map(|(mut exchange, changes)| {
        for (place, kind, byte) in changes {
            let answer = &mut exchange.answer;
            let place = place.index(answer.len().max(1));
            match kind {
                0 => answer.insert(place.min(answer.len()), byte),
                _ if answer.is_empty() => {}
                1 => drop(answer.remove(place)),
                _ => answer[place] = byte,
            }
        }
        exchange
    })
}

/// A status line, and what it says.
fn status() -> impl Strategy<Value = (String, u16)> {
    let version = prop_oneof![
        12 => Just("HTTP/1.1"),
        4 => Just("HTTP/1.0"),
        1 => select(vec!["HTTP/2.0", "HTTP/1.2", "HTTP/1", "ICY", "http/1.1"]),
    ];
    let status = prop_oneof![
        8 => Just(200_u16),
        6 => select(vec![201_u16, 204, 205, 206, 302, 304, 404, 500, 999]),
        1 => select(vec![0_u16, 99, 101]),
    ];
    let reason =
        select(vec![" OK", " ", "", " Not so odd", "  two", " Caf\u{e9}", " a\tb", " x\u{1}"]);
    (version, status, reason)
        .prop_map(|(version, status, reason)| (format!("{version} {status:03}{reason}"), status))
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => Just("\r\n"), 1 => Just("\n")]
}

/// An answer before the answer.
fn interim() -> impl Strategy<Value = String> {
    let texts = [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 199 x\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.0 100 Continue\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\ncontent-length: x\r\n\r\n",
    ];
    prop_oneof![4 => Just(String::new()), 2 => select(texts.map(str::to_owned).to_vec())]
}

/// A field that is not about where the body ends, as it should be.
fn field() -> impl Strategy<Value = String> {
    let sound = [
        "Server: x",
        "x-a: 1",
        "x-a: 2",
        "x-empty:",
        "x-blank: \t ",
        "x-obs: \u{e9}\u{ff}",
        "Connection: close",
        "connection: keep-alive",
        "connection: Keep-Alive, x",
        "connection: keep-alive, close",
        "connection: x,\tCLOSE ,",
        "connection:",
        "connection: keep-alive, \u{fc}",
        "connection: closed",
        "connection: x-a, content-length",
        "te: trailers",
        "proxy-connection: close",
        "keep-alive: timeout=5",
        "upgrade: websocket",
        "trailer: x-t",
        "content-encoding: gzip",
    ];
    let wrong = [
        "x-a : 1",
        " x-folded: 1",
        "x a: 1",
        "no colon",
        ": 1",
        "x-a: \u{1}",
        "x\u{e9}: 1",
        "x-a: a\rb",
    ];
    prop_oneof![
        12 => select(sound.map(str::to_owned).to_vec()),
        1 => select(wrong.map(str::to_owned).to_vec()),
    ]
}

fn payload() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just(String::new()), 4 => "[a-z0-9\r\n]{1,40}"]
}

fn framed() -> impl Strategy<Value = Framed> {
    prop_oneof![
        4 => payload().prop_map(|body| {
            let fields = vec![format!("Content-Length: {}", body.len())];
            Framed { fields, body: body.into_bytes(), oddities: Vec::new() }
        }),
        2 => (payload(), 0..13_usize).prop_map(|(body, kind)| lengths(&body, kind)),
        4 => coded(Just(("transfer-encoding: chunked", false))),
        2 => coded(select(CODINGS.to_vec())),
        1 => (coded(select(CODINGS.to_vec())), 0..50_usize).prop_map(|(mut framed, length)| {
            framed.fields.push(format!("content-length: {length}"));
            framed
        }),
        1 => payload().prop_map(|body| Framed { body: body.into_bytes(), ..Framed::default() }),
    ]
}

/// A length that is told in one of many ways.
fn lengths(body: &str, kind: usize) -> Framed {
    use Oddity::{HugeLength, LengthInTwoSpellings, ListedLength};
    let length = body.len();
    let (texts, oddity) = match kind {
        0 => (vec![format!("{length}, {length}")], Some(ListedLength)),
        1 => (vec![format!("{length}"), format!("0{length}")], Some(LengthInTwoSpellings)),
        2 => (vec![format!("{length}"), format!("{length}")], None),
        3 => (vec![format!("{length}"), format!("{}", length + 1)], None),
        4 => (vec![format!("00{length}")], None),
        5 => (vec![format!("+{length}")], None),
        6 => (vec![format!("{length} x")], None),
        7 => (vec![String::new()], None),
        8 => (vec![format!("\t{length} \t")], None),
        9 => (vec!["18446744073709551613".to_owned()], Some(HugeLength)),
        10 => (vec!["184467440737095516150".to_owned()], None),
        11 => (vec![format!("{}", length + 1)], None),
        _ => (vec![format!("{}", length.saturating_sub(1))], None),
    };
    let fields = texts.into_iter().map(|text| format!("content-length:{text}")).collect();
    Framed { fields, body: body.as_bytes().to_vec(), oddities: Vec::from_iter(oddity) }
}

/// Fields that tell a coding, and whether it is another one than `chunked`.
const CODINGS: &[(&str, bool)] = &[
    ("Transfer-Encoding: Chunked", false),
    ("transfer-encoding:\t chunked \t", false),
    ("transfer-encoding: gzip, chunked", true),
    ("transfer-encoding: gzip", true),
    ("transfer-encoding: identity", true),
    ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", true),
    ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", true),
    ("transfer-encoding: chunked, identity", true),
    ("transfer-encoding: chunked,", true),
    ("transfer-encoding: ,chunked", true),
    ("transfer-encoding: chunked;q=1", true),
    ("transfer-encoding: xchunked", true),
    ("transfer-encoding: chunked\u{e9}", true),
    ("transfer-encoding:", true),
];

const TRAILERS: &[&str] = &[
    "x-t: 1\r\n",
    "x-t:\r\nX-U: \u{e9}\r\n",
    "x-t: 1\r\nx-t: 2\r\n",
    "content-length: 5\r\n",
    "x-t : 1\r\n",
    " x-t: 1\r\n",
    "x-t: 1\r\n 2\r\n",
    "x-t\r\n",
    ": 1\r\n",
    "x-t: \u{1}\r\n",
    "x-t: a\rb\r\n",
    "x-t: 1\nx-u: 2\r\n",
    "x-t: 1\n\r\n",
];

/// A chunked body behind one of these fields.
fn coded(field: impl Strategy<Value = (&'static str, bool)>) -> impl Strategy<Value = Framed> {
    let trailers = prop_oneof![3 => Just(""), 1 => select(TRAILERS.to_vec())];
    let last = prop_oneof![
        8 => Just("0\r\n"),
        1 => select(vec!["000\r\n", "0;a=b\r\n", "0 \r\n", "0\n", "\r\n", "-0\r\n"]),
    ];
    (field, vec((payload(), size()), 0..4), last, trailers).prop_map(
        |((field, is_other), chunks, last, trailers)| {
            let mut oddities = Vec::from_iter(is_other.then_some(Oddity::OtherCoding));
            let has_lone_lf = trailers.replace("\r\n", "").contains('\n');
            oddities.extend(has_lone_lf.then_some(Oddity::LoneLf));
            let mut body = Vec::new();
            for (data, Size { write, oddity }) in chunks {
                if data.is_empty() {
                    continue;
                }
                body.extend(write(data.len()).chars().map(|c| u8::try_from(c).unwrap()));
                body.extend_from_slice(data.as_bytes());
                body.extend_from_slice(b"\r\n");
                oddities.extend(oddity);
            }
            body.extend_from_slice(last.as_bytes());
            body.extend(trailers.chars().map(|c| u8::try_from(c).unwrap()));
            body.extend_from_slice(b"\r\n");
            Framed { fields: vec![field.to_owned()], body, oddities }
        },
    )
}

/// A way to write a chunk's size.
#[derive(Clone, Copy, Debug)]
struct Size {
    write: fn(usize) -> String,
    oddity: Option<Oddity>,
}

fn size() -> impl Strategy<Value = Size> {
    const fn sound(write: fn(usize) -> String) -> Size {
        Size { write, oddity: None }
    }
    const fn odd(write: fn(usize) -> String, oddity: Oddity) -> Size {
        Size { write, oddity: Some(oddity) }
    }
    prop_oneof![
        8 => Just(sound(|size| format!("{size:x}\r\n"))),
        4 => select(vec![
            sound(|size| format!("{size:X}\r\n")),
            sound(|size| format!("{size:016x}\r\n")),
            sound(|size| format!("{size:x} \t\r\n")),
            sound(|size| format!("{size:x};a=b;c=\"d;\"\r\n")),
            sound(|size| format!("{size:x} ; \u{e9}\t\r\n")),
            sound(|size| format!("{size:x};\r\n")),
            odd(|size| format!("{size:017x}\r\n"), Oddity::LongSize),
            odd(|size| format!("{size:x};\u{1}\r\n"), Oddity::ControlInExtension),
            odd(|size| format!("{size:x};\u{7f}\r\n"), Oddity::ControlInExtension),
            sound(|size| format!("{size:x};a\n\r\n")),
            sound(|size| format!("{size:x};a\rb\r\n")),
            sound(|size| format!("{size:x}\n")),
            sound(|size| format!(" {size:x}\r\n")),
            sound(|size| format!("0x{size:x}\r\n")),
            sound(|size| format!("+{size:x}\r\n")),
            sound(|size| format!("1{size:016x}\r\n")),
            sound(|size| format!("{:x}\r\n", size + 1)),
            sound(|size| format!("{:x}\r\n", size.saturating_sub(1))),
            sound(|_| "\r\n".to_owned()),
        ]),
    ]
}
