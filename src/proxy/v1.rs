//! Upstreams that only know the first generation of the API.
//!
//! The newest SDKs create and connect on `/v2/…`; Cube answers 405 there. The gateway then sends the same to the v1
//! path, with `secure` and a timeout spelt out, and remembers it for the upstream. Decided once; a 405 has changed
//! nothing, so asking again is safe.

use std::sync::atomic::{AtomicU8, Ordering};

use http::StatusCode;

/// What is known of the upstream.
#[derive(Debug, Default)]
pub struct Dialects {
    known: AtomicU8,
}

const UNKNOWN: u8 = 0;
const SPEAKS_V2: u8 = 1;
const ONLY_V1: u8 = 2;

/// The two requests that exist in both generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// `POST /v2/sandboxes`.
    Create,
    /// `POST /v2/sandboxes/{id}/connect`.
    Connect,
}

impl Twin {
    /// The twin that a row's pattern stands for.
    #[must_use]
    pub fn of(pattern: &str) -> Option<Self> {
        match pattern {
            "/v2/sandboxes" => Some(Self::Create),
            "/v2/sandboxes/{id}/connect" => Some(Self::Connect),
            _ => None,
        }
    }
}

impl Dialects {
    /// Whether the v1 path is to be used at once.
    #[must_use]
    pub fn only_v1(&self) -> bool {
        self.known.load(Ordering::Relaxed) == ONLY_V1
    }

    /// Whether an answer on a v2 path may still show that there is only v1.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.known.load(Ordering::Relaxed) == UNKNOWN
    }

    /// Takes note of an answer on a v2 path. True: the upstream has no such path, ask on v1.
    ///
    /// A 404 on connect may be about the sandbox, so only a 405 counts there. On a create it may be about the template:
    /// the answer on v1 tells ([`Self::confirm`]).
    #[must_use]
    pub fn decide(&self, twin: Twin, status: StatusCode) -> bool {
        let absent = status == StatusCode::METHOD_NOT_ALLOWED
            || (status == StatusCode::NOT_FOUND && twin == Twin::Create);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            self.settle_on_v1();
        } else if status.is_success() {
            self.known.store(SPEAKS_V2, Ordering::Relaxed);
        }
        absent
    }

    /// Takes note of the answer on v1 to what was first asked on v2. Another 404 was about the template.
    pub fn confirm(&self, status: StatusCode) {
        if self.is_undecided() && status.is_success() {
            self.settle_on_v1();
        }
    }

    fn settle_on_v1(&self) {
        tracing::info!("the upstream only knows the v1 API; creates and connects are mapped down");
        self.known.store(ONLY_V1, Ordering::Relaxed);
    }
}

/// The v1 spelling of a v2 path with its query: the first segment is dropped.
#[must_use]
pub fn path(path_and_query: &str) -> &str {
    path_and_query.strip_prefix("/v2").unwrap_or(path_and_query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decided_once_by_what_only_a_missing_path_answers() {
        for (twin, status, expected) in [
            (Twin::Create, 405, true),
            (Twin::Create, 404, true),
            (Twin::Create, 400, false),
            (Twin::Create, 201, false),
            (Twin::Connect, 405, true),
            (Twin::Connect, 404, false),
        ] {
            let dialects = Dialects::default();
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(dialects.decide(twin, status), expected, "{twin:?} {status}");
            let settled = status == StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(dialects.only_v1(), settled);
            assert_eq!(dialects.is_undecided(), !settled && !status.is_success());
        }
    }

    #[test]
    fn a_template_that_neither_generation_has_decides_nothing() {
        let dialects = Dialects::default();
        assert!(dialects.decide(Twin::Create, StatusCode::NOT_FOUND));
        dialects.confirm(StatusCode::NOT_FOUND);
        assert!(dialects.is_undecided());
        dialects.confirm(StatusCode::CREATED);
        assert!(dialects.only_v1());
    }

    #[test]
    fn paths_lose_their_generation() {
        assert_eq!(path("/v2/sandboxes"), "/sandboxes");
        assert_eq!(path("/v2/sandboxes/i1/connect?a=b"), "/sandboxes/i1/connect?a=b");
    }
}
