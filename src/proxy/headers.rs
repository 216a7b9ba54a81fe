//! Header hygiene, both ways: strip, then vouch.
//!
//! Everything that is for one hop only, that names a gateway credential, or that only the gateway may say is removed
//! before anything is added, so that a client can neither forge nor delete what the upstream is told. Names are compared as upstreams may
//! read them: `-`, `_` and `.` are one character.

use http::header::{
    CONNECTION, COOKIE, EXPECT, FORWARDED, HeaderMap, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Names that start like this are the gateway's, or choose an identity at an upstream, at any spelling.
const OWN_PREFIXES: [&[u8]; 3] = [b"x-coppice-", b"x-supabase-", b"x-forwarded-"];

/// Names that are the gateway's own, select an identity or a target upstream, or change the method after it was judged.
const OWN_NAMES: [&[u8]; 17] = [
    b"e2b-sandbox-id",
    b"e2b-sandbox-port",
    b"e2b-traffic-access-token",
    b"forwarded",
    b"x-access-token",
    b"x-admin-token",
    b"x-api-key",
    b"x-client-ip",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-original-url",
    b"x-real-ip",
    b"x-request-id",
    b"x-rewrite-url",
    b"x-team-id",
    b"true-client-ip",
];

/// Removes what is for this hop only (RFC 9110 7.6.1): every name that any `Connection` line lists, and the fixed ones.
///
/// `TE: trailers` is put back, because gRPC upstreams insist on it.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in listed_in_connection(headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    let trailers = headers.get(TE).is_some_and(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    for name in [
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        EXPECT,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// Removes every name that is the gateway's own, at any spelling, save the exact `kept` ones.
pub fn strip_own(headers: &mut HeaderMap, kept: &[HeaderName]) {
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_own(name.as_str().as_bytes()) && !kept.contains(name))
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
}

/// Whether trailers may carry this name: nothing that would be stripped from a head.
#[must_use]
pub fn may_trail(name: &HeaderName) -> bool {
    !is_own(name.as_str().as_bytes()) && *name != FORWARDED
}

/// Header names arrive in lower case; only the separators need folding.
fn is_own(name: &[u8]) -> bool {
    match name.first() {
        Some(b'x' | b'e' | b'f' | b't') => {}
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

/// Joins the cookie lines that HTTP/2 may split (RFC 9113 8.2.3), as HTTP/1.1 wants them.
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Removes from an upstream's answer what was for its hop and what only the gateway says.
pub fn strip_response(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str().as_bytes();
            name.split_at_checked(10).is_some_and(|(start, _)| same(start, b"x-coppice-"))
        })
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
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
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("x-three", "3"), ("te", "trailers")]));
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
            "X-Supabase-Token",
            "X_API_KEY",
            "e2b_sandbox_id",
            "X-HTTP-Method-Override",
        ] {
            let mut headers = map(&[(name, "forged"), ("x-mine", "kept")]);
            strip_own(&mut headers, &[]);
            assert_eq!(headers, map(&[("x-mine", "kept")]), "{name}");
        }
    }

    #[test]
    fn what_merely_looks_alike_stays() {
        for name in
            ["x-coppicetenant", "xcoppice-tenant", "x-coppice", "accept", "x-requestid", "cookie"]
        {
            let mut headers = map(&[(name, "v")]);
            strip_own(&mut headers, &[]);
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

    #[test]
    fn split_cookies_become_one_line() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("accept", "*/*")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2"), ("accept", "*/*")]));
        let mut one = map(&[("cookie", "a=1; b=2")]);
        join_cookies(&mut one);
        assert_eq!(one, map(&[("cookie", "a=1; b=2")]));
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
            strip_own(&mut headers, &[]);
            prop_assert!(headers.is_empty());
        }
    }
}
