//! Header hygiene, both ways: strip, then vouch.
//!
//! Everything that is for one hop only, that names a gateway credential, or that only the gateway may say is removed
//! before anything is added, so that a client can neither forge nor delete what the upstream is told. Names are
//! compared as upstreams may read them: `-`, `_` and `.` are one character.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, SET_COOKIE, TE, TRAILER,
};
use http::{HeaderName, HeaderValue};

/// Names that start like this are the gateway's, or choose an identity at an upstream, at any spelling.
const OWN_PREFIXES: [&[u8]; 3] = [b"x-coppice-", b"x-supabase-", b"x-forwarded-"];

/// Names that are the gateway's own, select an identity or a target upstream, or change the method after it was judged.
const OWN_NAMES: [&[u8]; 33] = [
    b"e2b-sandbox-id",
    b"e2b-sandbox-port",
    b"e2b-traffic-access-token",
    b"forwarded",
    b"x-access-token",
    b"x-admin-token",
    b"x-api-key",
    b"cf-connecting-ip",
    b"fastly-client-ip",
    // What the auth callback is told and says.
    b"x-auth-expires",
    b"x-auth-max-sandboxes",
    b"x-auth-scopes",
    b"x-auth-tenant",
    b"x-auth-user",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-forwarded",
    b"x-host",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-original-forwarded-for",
    b"x-original-host",
    b"x-original-url",
    b"x-real-ip",
    b"x-request-host",
    b"x-request-id",
    b"x-request-ip",
    b"x-request-method",
    b"x-request-path",
    b"x-rewrite-url",
    b"x-team-id",
    b"true-client-ip",
];

/// Strips a client's head in one pass: what is for this hop only (RFC 9110 7.6.1), with every name that any
/// `Connection` line lists, and every name that is the gateway's own, at any spelling, save the exact `kept` ones.
///
/// `TE: trailers` is put back, because gRPC upstreams insist on it.
pub fn strip_request(headers: &mut HeaderMap, kept: &[HeaderName]) -> Seen {
    let mut seen = Seen::default();
    let mut trailers = false;
    let doomed = doomed(headers, |name| {
        match name.as_str() {
            "authorization" => seen.authorization = true,
            "cookie" => seen.cookies = true,
            "traceparent" => seen.trace = true,
            // Read first: a client that follows RFC 9110 10.1.4 lists TE in Connection.
            "te" => trailers = words(headers, &TE).any(|it| it.eq_ignore_ascii_case(b"trailers")),
            _ => {}
        }
        is_own(name.as_str().as_bytes()) && !kept.contains(name)
    });
    remove(headers, doomed);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    seen
}

/// What a request's head had before it was stripped, of what is looked at afterwards: most have none of it, and are not
/// searched for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// `Authorization`.
    pub authorization: bool,
    /// `Cookie`.
    pub cookies: bool,
    /// `traceparent`.
    pub trace: bool,
}

/// Strips an upstream's answer: what was for its hop, and what only the gateway says.
pub fn strip_response(headers: &mut HeaderMap) {
    let doomed = doomed(headers, |name| is_vouched(name.as_str().as_bytes()));
    remove(headers, doomed);
}

/// The names that are for one hop only, and those that `is_doomed`, which is asked of every one.
fn doomed(headers: &HeaderMap, mut is_doomed: impl FnMut(&HeaderName) -> bool) -> Vec<HeaderName> {
    let names = headers.keys().filter(|name| is_doomed(name) | is_hop_by_hop(name));
    let mut doomed: Vec<HeaderName> = names.cloned().collect();
    if doomed.contains(&CONNECTION) {
        doomed.extend(listed_in_connection(headers));
    }
    doomed
}

fn remove(headers: &mut HeaderMap, doomed: Vec<HeaderName>) {
    for name in doomed {
        headers.remove(name);
    }
}

/// What is for one hop only, `Connection` itself included.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    // By text: to compare with a name that is not among the standard ones, one has to be made.
    matches!(
        name.as_str(),
        "connection"
            | "expect"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Joins cookies that came in pieces, as HTTP/2 clients may send them and HTTP/1.1 upstreams may not get them (RFC 9113
/// 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut pieces = headers.get_all(COOKIE).iter();
    if pieces.next().is_none() || pieces.next().is_none() {
        return;
    }
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    words(headers, &CONNECTION).filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

/// The members of a comma-separated list, over all its lines.
pub(super) fn words<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// Whether a request's trailers may carry this name: nothing that would be stripped from a head or must stand there
/// (RFC 9110 6.5.1).
#[must_use]
pub fn may_trail(name: &HeaderName) -> bool {
    !is_own(name.as_str().as_bytes()) && !belongs_in_a_head(name)
}

/// The same for an answer's trailers.
#[must_use]
pub fn may_trail_answer(name: &HeaderName) -> bool {
    !is_vouched(name.as_str().as_bytes()) && !belongs_in_a_head(name)
}

fn belongs_in_a_head(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || [AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, TRAILER].contains(name)
}

/// Header names arrive in lower case; only the separators need folding.
fn is_own(name: &[u8]) -> bool {
    match name.first() {
        Some(b'x' | b'c' | b'e' | b'f' | b't') => {}
        _ => return false,
    }
    OWN_PREFIXES.iter().any(|prefix| {
        name.split_at_checked(prefix.len()).is_some_and(|(start, _)| same(start, prefix))
    }) || OWN_NAMES.iter().any(|own| same(name, own))
}

fn same(name: &[u8], own: &[u8]) -> bool {
    name.len() == own.len()
        && name.iter().zip(own).all(|(a, b)| a == b || (*b == b'-' && matches!(a, b'_' | b'.')))
}

/// Names under which only the gateway speaks.
fn is_vouched(name: &[u8]) -> bool {
    name.split_at_checked(10).is_some_and(|(start, _)| same(start, b"x-coppice-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn every_connection_line_counts() {
        let mut headers = map(&[
            ("connection", "close, , x-one"),
            ("Connection", "X-Two\t,keep-alive"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
        ]);
        strip_request(&mut headers, &[]);
        assert_eq!(headers, map(&[("x-three", "3"), ("te", "trailers")]));
    }

    #[test]
    fn cookies_in_pieces_are_joined() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("x-one", "1")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2"), ("x-one", "1")]));
    }

    #[test]
    fn own_names_go_at_every_spelling() {
        for name in [
            "X-Coppice-Tenant",
            "x_coppice_tenant",
            "x.coppice-Anything",
            "X_Request_ID",
            "x-request.id",
            "X-Forwarded-For",
            "x_forwarded_host",
            "X-Team-ID",
            "x_team_id",
            "X-Auth-Tenant",
            "x_request_path",
            "X-Supabase-Token",
            "X_API_KEY",
            "e2b_sandbox_id",
            "X-HTTP-Method-Override",
        ] {
            let mut headers = map(&[(name, "forged"), ("x-mine", "kept")]);
            strip_request(&mut headers, &[]);
            assert_eq!(headers, map(&[("x-mine", "kept")]), "{name}");
        }
    }

    #[test]
    fn what_merely_looks_alike_stays() {
        for name in
            ["x-coppicetenant", "xcoppice-tenant", "x-coppice", "accept", "x-requestid", "cookie"]
        {
            let mut headers = map(&[(name, "v")]);
            strip_request(&mut headers, &[]);
            assert_eq!(headers.len(), 1, "{name}");
        }
    }

    #[test]
    fn answers_lose_the_gateways_names_only() {
        let mut headers =
            map(&[("x-coppice-scopes", "admin"), ("x-next-token", "t"), ("connection", "close")]);
        strip_response(&mut headers);
        assert_eq!(headers, map(&[("x-next-token", "t")]));
    }

    proptest! {
        #[test]
        fn no_spelling_of_an_own_name_survives(
            separators in proptest::collection::vec(prop_oneof!["-", "_", "\\."], 2),
            upper in any::<bool>(),
        ) {
            let (one, two) = (separators[0].replace('\\', ""), separators[1].replace('\\', ""));
            let mut name = format!("x{one}coppice{two}tenant");
            if upper { name.make_ascii_uppercase(); }
            let mut headers = map(&[(name.as_str(), "forged")]);
            strip_request(&mut headers, &[]);
            prop_assert!(headers.is_empty());
        }
    }
}
