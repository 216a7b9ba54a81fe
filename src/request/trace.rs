//! W3C Trace Context: which trace a request belongs to, and which traces are kept.

use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

/// The header that ties the spans of a trace together (W3C Trace Context 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems add to it for themselves (W3C Trace Context 3.3).
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const SAMPLED: u8 = 1;

/// The id of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceId(pub [u8; 16]);

/// The id of a span within it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanId(pub [u8; 8]);

impl TraceId {
    /// The trace of a request that came without one: the request's own id where that has the form of a trace id, else
    /// one derived from it.
    #[must_use]
    pub fn of_request(request_id: &HeaderValue) -> Self {
        let id = request_id.as_bytes();
        match hex::<16>(id).filter(|id| id.iter().skip(8).any(|byte| *byte != 0)) {
            Some(id) => Self(id),
            None => {
                let mut derived = [0; 16];
                for (byte, of_digest) in derived.iter_mut().zip(Sha256::digest(id)) {
                    *byte = of_digest;
                }
                Self(derived)
            }
        }
    }
}

/// A line without ids, not sampled.
const NO_TRACE: &[u8; 55] = b"00-00000000000000000000000000000000-0000000000000000-00";

/// Whether an id has the form of a trace id, as [`TraceId::of_request`] has it.
fn is_trace_id(id: &[u8]) -> bool {
    // No early exit, so that the compiler can look at many bytes at a time.
    let is_hex = |all, byte: &u8| all & (byte.is_ascii_digit() | matches!(byte, b'a'..=b'f'));
    id.len() == 32 && id.iter().fold(true, is_hex) && !id.ends_with(&[b'0'; 16])
}

/// Starts a trace for a request that came without one. Not sampled: that is for whoever traces to decide.
#[must_use]
pub fn traceparent(request_id: &HeaderValue) -> Option<HeaderValue> {
    let id = request_id.as_bytes();
    // As most ids are: the text can stay as it is.
    if is_trace_id(id) {
        let mut line = *NO_TRACE;
        line.get_mut(3..35)?.copy_from_slice(id);
        line.get_mut(36..52)?.copy_from_slice(id.get(16..)?);
        return HeaderValue::from_bytes(&line).ok();
    }
    let TraceId(trace) = TraceId::of_request(request_id);
    let mut span = [0; 8];
    span.copy_from_slice(trace.get(8..)?);
    written(TraceId(trace), SpanId(span), false)
}

/// The gateway's own part in a request's trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The trace.
    pub id: TraceId,
    /// The gateway's span.
    pub span: SpanId,
    /// The client's span, where it sent one.
    pub parent: Option<SpanId>,
    /// What came with it of other tracing systems.
    pub state: Option<HeaderValue>,
    /// Whether the trace is kept.
    pub sampled: bool,
}

impl Trace {
    /// Continues the trace that a request came with, or starts one.
    #[must_use]
    pub fn begin(headers: &HeaderMap, request_id: &HeaderValue, sampler: &Sampler) -> Self {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let sent = lines.next().filter(|_| lines.next().is_none());
        let sent = sent.and_then(|line| read(line.as_bytes()));
        let id = sent.map_or_else(|| TraceId::of_request(request_id), |(id, ..)| id);
        let state = sent.and_then(|_| joined(headers));
        // Without entropy there are no unique ids, but the request goes on.
        let span = getrandom::u64().unwrap_or(1).max(1).to_be_bytes();
        Self {
            id,
            span: SpanId(span),
            parent: sent.map(|(_, span, _)| span),
            state,
            sampled: sampler.keeps(id, sent.map(|(_, _, sampled)| sampled)),
        }
    }

    /// Makes the gateway's span the parent of whatever the upstream does. The state of a trace that nobody can continue
    /// goes no further.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        if let Some(line) = written(self.id, self.span, self.sampled) {
            headers.insert(TRACEPARENT, line);
        }
        if self.parent.is_none() {
            headers.remove(TRACESTATE);
        }
    }
}

/// Which traces are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sampler {
    /// Whether a client's own decision counts.
    pub parent_based: bool,
    /// Of 2^63 traces, how many are kept where it does not, or where there is none.
    pub kept: u64,
}

impl Sampler {
    const ALL: u64 = 1 << 63;

    /// Keeps this part of all traces, between 0 and 1.
    #[must_use]
    pub fn new(ratio: f64, parent_based: bool) -> Self {
        Self { parent_based, kept: (ratio.clamp(0.0, 1.0) * Self::ALL as f64) as u64 }
    }

    fn keeps(&self, TraceId(id): TraceId, parents: Option<bool>) -> bool {
        match parents.filter(|_| self.parent_based) {
            Some(sampled) => sampled,
            None => {
                let low = id.iter().skip(8).fold(0_u64, |low, byte| low << 8 | u64::from(*byte));
                low >> 1 < self.kept
            }
        }
    }
}

/// `version-trace-span-flags`. Later versions may say more behind another dash.
fn read(line: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let (head, rest) = line.split_at_checked(55)?;
    let mut parts = head.split(|byte| *byte == b'-');
    let version = hex::<1>(parts.next()?)?;
    let (trace, span) = (hex::<16>(parts.next()?)?, hex::<8>(parts.next()?)?);
    let [flags] = hex::<1>(parts.next()?)?;
    let is_whole = match version {
        [0] => rest.is_empty(),
        [0xff] => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let is_sound = is_whole && trace != [0; 16] && span != [0; 8];
    is_sound.then_some((TraceId(trace), SpanId(span), flags & SAMPLED != 0))
}

fn written(TraceId(trace): TraceId, SpanId(span): SpanId, sampled: bool) -> Option<HeaderValue> {
    let mut line = *NO_TRACE;
    put_hex(line.get_mut(3..35)?, &trace);
    put_hex(line.get_mut(36..52)?, &span);
    *line.last_mut()? += u8::from(sampled);
    HeaderValue::from_bytes(&line).ok()
}

/// All of `tracestate`, which may come in several lines.
fn joined(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(TRACESTATE).iter();
    let first = lines.next()?;
    let mut all = first.as_bytes().to_vec();
    for line in lines {
        all.push(b',');
        all.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_bytes(&all).ok()
}

/// Lower-case hex digits of that many bytes.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    const NONE: u8 = 0xff;
    #[expect(clippy::indexing_slicing, reason = "within bounds, or it would not compile")]
    static VALUES: [u8; 256] = {
        let mut table = [NONE; 256];
        let mut value = 0_u8;
        while value < 16 {
            table[b"0123456789abcdef"[value as usize] as usize] = value;
            value += 1;
        }
        table
    };
    let (mut bytes, mut seen) = ([0; N], 0);
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let value = |digit: &u8| VALUES.get(usize::from(*digit)).copied().unwrap_or(NONE);
        let (high, low) = (value(high), value(low));
        seen |= high | low;
        *byte = high << 4 | low & 0xf;
    }
    (seen != NONE).then_some(bytes)
}

/// Writes two lower-case digits for each byte.
pub fn put_hex(text: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(HEX.get(usize::from(*byte)).unwrap_or(b"00"));
    }
}

#[expect(clippy::indexing_slicing, reason = "within bounds, or it would not compile")]
static HEX: [[u8; 2]; 256] = {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn begun(lines: &[(&'static str, &str)], sampler: Sampler) -> Trace {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        Trace::begin(&headers, &HeaderValue::from_static("job 7"), &sampler)
    }

    #[test]
    fn a_trace_starts_with_the_request_id() {
        let own = HeaderValue::from_static("0a54fee5ef8ad0c9fdcbdf15a19214a9");
        let expected = "00-0a54fee5ef8ad0c9fdcbdf15a19214a9-fdcbdf15a19214a9-00";
        assert_eq!(traceparent(&own).unwrap(), expected);
        for foreign in [
            "job 7",
            "0A54FEE5EF8AD0C9FDCBDF15A19214A9",
            "0a54fee5ef8ad0c9fdcbdf15a19214ag",
            "0a54fee5ef8ad0c90000000000000000",
        ] {
            let id = HeaderValue::from_static(foreign);
            let line = traceparent(&id).unwrap();
            assert!(line.len() == expected.len() && line != expected, "{foreign}");
            let (trace, span, sampled) = read(line.as_bytes()).unwrap();
            assert_eq!((trace, sampled), (TraceId::of_request(&id), false), "{foreign}");
            assert_eq!(span.0, trace.0[8..], "{foreign}");
        }
    }

    #[test]
    fn a_clients_trace_goes_on() {
        let sampler = Sampler::new(0.0, true);
        let trace = begun(
            &[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")],
            sampler,
        );
        assert_eq!(trace.parent, Some(SpanId([0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31])));
        assert!(trace.sampled);
        assert_eq!(trace.state.as_ref().unwrap(), "a=1,b=2");
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        trace.put_into(&mut headers);
        let line = headers[&TRACEPARENT].to_str().unwrap();
        assert!(line.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && line.ends_with("-01"));
        assert!(!line.contains("b7ad6b7169203331") && headers.contains_key(&TRACESTATE));
        assert_eq!(read(line.as_bytes()), Some((trace.id, trace.span, true)));
    }

    #[test]
    fn what_is_no_trace_is_not_continued() {
        let upper = PARENT.to_ascii_uppercase();
        let later = format!("cc{}-more", &PARENT[2..]);
        for (line, continues) in [
            (PARENT, true),
            (later.as_str(), true),
            (&later[..58], true),
            (&upper, false),
            ("", false),
            (&PARENT[..54], false),
            (&format!("{PARENT}-more"), false),
            (&format!("{later}x").replacen("-more", "more", 1), false),
            (&format!("ff{}", &PARENT[2..]), false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0-", false),
        ] {
            assert_eq!(read(line.as_bytes()).is_some(), continues, "{line}");
        }
        let twice =
            begun(&[("traceparent", PARENT), ("traceparent", PARENT)], Sampler::new(1.0, true));
        assert_eq!(twice.parent, None);
        assert_eq!(twice.id, TraceId::of_request(&HeaderValue::from_static("job 7")));
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        twice.put_into(&mut headers);
        assert!(!headers.contains_key(&TRACESTATE));
    }

    #[test]
    fn samplers_keep_what_they_say() {
        let unsampled = PARENT.replace("-01", "-00");
        for (ratio, parent_based, parent, kept) in [
            (1.0, true, None, true),
            (0.0, true, None, false),
            (0.0, true, Some(PARENT), true),
            (1.0, true, Some(unsampled.as_str()), false),
            (1.0, false, Some(&unsampled), true),
            (0.0, false, Some(PARENT), false),
        ] {
            let lines: Vec<_> = parent.map(|line| ("traceparent", line)).into_iter().collect();
            let trace = begun(&lines, Sampler::new(ratio, parent_based));
            assert_eq!(trace.sampled, kept, "{ratio} {parent_based} {parent:?}");
        }
        let quarter = Sampler::new(0.25, false);
        let kept = (0..4_000).filter(|number| {
            let id = HeaderValue::from_str(&format!("request {number}")).unwrap();
            quarter.keeps(TraceId::of_request(&id), None)
        });
        let kept = kept.count();
        assert!((900..1_100).contains(&kept), "{kept}");
    }
}
