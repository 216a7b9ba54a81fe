//! The same upstream, to the byte, for hyper's client and for this one: both must see the same.
//!
//! Where this one is stricter on purpose, the [`Oddity`] of the answer says so; it may then refuse what hyper takes, and
//! nothing else may differ. Never may it take what hyper refuses, nor use a connection again that hyper gives up.

mod answers;
mod sides;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, Method, StatusCode};
use proptest::prelude::*;

use self::answers::{exchanges, mutated};
use self::sides::{Head, Hypers, Ours, Seen, play};

/// What an upstream is asked and says, and how.
#[derive(Clone)]
struct Exchange {
    method: Method,
    /// Whether the request has a body.
    uploads: bool,
    answer: Vec<u8>,
    /// Into how long pieces it is cut, over and over.
    pieces: Vec<usize>,
    /// Whether the upstream closes the connection behind it.
    closes: bool,
    oddities: Vec<Oddity>,
}

/// What an answer may have that is refused here and that hyper takes, each because others read it in another way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Oddity {
    /// `Content-Length: 2, 2`.
    ListedLength,
    /// Two lines of lengths that are one number in two spellings.
    LengthInTwoSpellings,
    /// A length of 8 EiB and more.
    HugeLength,
    /// A length that is none, where none is needed: there is no body.
    IdleLength,
    /// A coding other than `chunked`, or that more than once: nobody asked for it.
    OtherCoding,
    /// A coding in HTTP/1.0, which has none, where it does not matter: there is no body.
    IdleCoding,
    /// A control character in a chunk extension.
    ControlInExtension,
    /// A chunk size of more than 16 digits.
    LongSize,
    /// A trailer that ends with a lone LF.
    LoneLf,
    /// More than 8 KiB of chunk extensions, or of trailers.
    Lengthy,
    /// More trailers than [`super::super::head::USUAL_HEADERS`].
    ManyTrailers,
}

impl Oddity {
    /// Whether it is in the head, so that there is no answer at all.
    fn is_in_head(self) -> bool {
        match self {
            Self::ListedLength
            | Self::LengthInTwoSpellings
            | Self::HugeLength
            | Self::IdleLength
            | Self::OtherCoding
            | Self::IdleCoding => true,
            Self::ControlInExtension
            | Self::LongSize
            | Self::LoneLf
            | Self::Lengthy
            | Self::ManyTrailers => false,
        }
    }
}

/// How well `ours` goes together with what hyper saw.
fn judge(exchange: &Exchange, ours: &Seen, hypers: &Seen) -> Result<(), &'static str> {
    if ours.is_reusable && !hypers.is_reusable {
        return Err("the connection is used again");
    }
    if ours.told == hypers.told {
        let stalls = ours.waits && !hypers.waits;
        return if stalls { Err("it waits for more") } else { Ok(()) };
    }
    let refuses = |in_head| exchange.oddities.iter().any(|odd| odd.is_in_head() == in_head);
    match (&ours.told, &hypers.told) {
        (None, Some(_)) if refuses(true) => Ok(()),
        (Some(ours), Some(hypers)) if refuses(false) && !ours.ends_well => {
            if ours.head == hypers.head { Ok(()) } else { Err("the heads differ") }
        }
        _ => Err("it is understood in another way"),
    }
}

/// The same of an answer of which nobody knows what is wrong with it.
fn judge_mutated(ours: &Seen, hypers: &Seen) -> Result<(), &'static str> {
    if ours.is_reusable && !hypers.is_reusable {
        return Err("the connection is used again");
    }
    match (&ours.told, &hypers.told) {
        (Some(_), None) => Err("it is taken"),
        (Some(ours), Some(hypers)) if ours.head != hypers.head => Err("the heads differ"),
        (Some(ours), Some(hypers)) if ours.ends_well && ours != hypers => Err("the bodies differ"),
        (Some(_) | None, _) => Ok(()),
    }
}

/// Lets both clients ask one request after the other, for as long as both use the same connection.
fn compare(
    script: &[Exchange],
    judge: impl Fn(&Exchange, &Seen, &Seen) -> Result<(), &'static str>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ours, hypers) = runtime.block_on(async {
        (play(&mut Ours::new().await, script).await, play(&mut Hypers::new().await, script).await)
    });
    for ((exchange, ours), hypers) in script.iter().zip(&ours).zip(&hypers) {
        judge(exchange, ours, hypers)
            .map_err(|why| format!("{why}\n{exchange:?}\nours:   {ours:?}\nhyper's: {hypers:?}"))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn answers_are_what_hyper_takes_them_for(script in proptest::collection::vec(exchanges(), 1..4)) {
        compare(&script, judge).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn what_is_broken_is_never_taken_for_more_than_by_hyper(exchange in mutated()) {
        let judge = |_: &Exchange, ours: &Seen, hypers: &Seen| judge_mutated(ours, hypers);
        compare(&[exchange], judge).map_err(TestCaseError::fail)?;
    }
}

/// What was found once, and what would be seldom found.
const CORPUS: &[(&str, &[Oddity])] = &[
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", &[]),
    ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", &[]),
    ("HTTP/1.0 200 OK\r\nconnection: keep-alive, \u{fc}\r\ncontent-length: 2\r\n\r\nhi", &[]),
    ("HTTP/1.1 200 OK\r\nconnection: close, \u{fc}\r\ncontent-length: 2\r\n\r\nhi", &[]),
    (
        "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        &[],
    ),
    ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\nhi", &[Oddity::HugeLength]),
    ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551613\r\n\r\nhi", &[Oddity::HugeLength]),
    ("HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\nhi", &[]),
    ("HTTP/1.1 103 Early Hints\r\ncontent-length: x\r\n\r\nHTTP/1.1 204 x\r\n\r\n", &[]),
    ("HTTP/1.0 100 Continue\r\ntransfer-encoding: chunked\r\n\r\nHTTP/1.1 204 x\r\n\r\n", &[]),
    ("HTTP/1.1 204 x\r\ncontent-length: x\r\n\r\n", &[Oddity::IdleLength]),
    ("HTTP/1.0 304 x\r\ntransfer-encoding: chunked\r\n\r\n", &[Oddity::IdleCoding]),
    ("HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n", &[]),
    ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", &[]),
    ("\r\n\r\nHTTP/1.1 200 OK\ncontent-length: 0\n\n", &[]),
    ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n\r\n", &[]),
    ("HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nmore", &[]),
    ("HTTP/1.1 101 x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", &[]),
    ("HTTP/1.1 101 x\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello", &[]),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", &[]),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n\r\nhi", &[Oddity::OtherCoding]),
];

#[test]
fn what_was_found_once() {
    let many = |head: &str, line: &str, count| format!("{head}{}\r\n", line.repeat(count));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let last = format!("{chunked}0\r\n");
    let long = [
        (many("HTTP/1.1 204 x\r\n", "a: b\r\n", 256), &[][..]),
        (many("HTTP/1.1 204 x\r\n", "a: b\r\n", 257), &[]),
        (many(&last, "a: b\r\n", 32), &[]),
        (many(&last, "a: b\r\n", 33), &[Oddity::ManyTrailers]),
        (many(&last, &format!("a: {}\r\n", "b".repeat(1000)), 9), &[Oddity::Lengthy]),
        (
            many(&format!("{chunked}0"), &format!(";{}", "b".repeat(1000)), 9) + "\r\n",
            &[Oddity::Lengthy],
        ),
    ];
    let long = long.iter().map(|(answer, oddities)| (answer.as_str(), *oddities));
    for (answer, oddities) in CORPUS.iter().copied().chain(long) {
        for (method, uploads) in [(Method::GET, false), (Method::HEAD, false), (Method::POST, true)]
        {
            for (piece, closes) in [(1, false), (1, true), (usize::MAX, false), (usize::MAX, true)]
            {
                // Every character is a byte here, so that there are some that are no ASCII.
                let answer: Vec<u8> = answer.chars().map(|c| u8::try_from(c).unwrap()).collect();
                let piece = if answer.len() > 1000 { piece.max(500) } else { piece };
                let (method, oddities) = (method.clone(), oddities.to_vec());
                let exchange =
                    Exchange { method, uploads, answer, pieces: vec![piece], closes, oddities };
                compare(&[exchange], judge).unwrap();
            }
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, uploads, answer, pieces, closes, oddities } = self;
        writeln!(f, "{method}, uploads: {uploads}, closes: {closes}, {oddities:?}, by {pieces:?}")?;
        write!(f, "\"{}\"", answer.escape_ascii())
    }
}

/// What is left of a head here: nothing that is for its hop alone, and one statement of how long the body is.
fn for_others(head: &mut Head) {
    // What the connection becomes is told in such fields, and there is no body.
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    if head.headers.contains_key(TRANSFER_ENCODING) {
        head.headers.remove(CONTENT_LENGTH);
    }
    if let Some(length) = head.headers.remove(CONTENT_LENGTH) {
        head.headers.insert(CONTENT_LENGTH, length);
    }
    let lines = head.headers.get_all(CONNECTION).iter();
    let listed =
        lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    let listed: Vec<HeaderName> =
        listed.filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
    let hops =
        ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
    for name in hops.into_iter().chain(listed.iter().map(HeaderName::as_str)) {
        head.headers.remove(name);
    }
}
