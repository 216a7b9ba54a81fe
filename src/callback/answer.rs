//! What an answer's head means. The status decides; only 200 lets anybody in.

use http::{HeaderName, StatusCode};

use super::Refusal;
use super::freshness::Freshness;
use super::identity::{BadHeader, Identity};
use super::settings::{DefaultIdentity, Passed};
use super::statement::Statement;

/// What the service said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The credential is good, and whose it is.
    Allowed(Identity, Freshness),
    /// It is not, for certain: 401 and 403.
    Denied(Refusal, Freshness),
    /// The request is refused, but that says nothing of the next one.
    Refused(Refusal),
    /// So it is, because the service itself is in trouble: 500, 502, 503 and 504.
    Ailing(Refusal),
    /// 200, with a header that makes no sense.
    Nonsense(HeaderName),
}

impl Answer {
    /// Reads a head.
    pub(super) fn read(
        status: StatusCode,
        said: Statement,
        default: &DefaultIdentity,
        pass: Passed,
    ) -> Self {
        let Statement { described, freshness, retry_after, .. } = said;
        let rejected = Refusal::Rejected;
        match status.as_u16() {
            200 => match described.identity(default) {
                Ok(identity) => Self::Allowed(identity, freshness),
                Err(BadHeader(name)) => Self::Nonsense(name),
            },
            401 => Self::Denied(rejected, freshness),
            403 => {
                let refusal = if pass.forbidden { Refusal::Forbidden } else { rejected };
                Self::Denied(refusal, freshness)
            }
            429 if pass.rate_limited => Self::Refused(Refusal::RateLimited(retry_after)),
            500 | 502 | 503 | 504 => Self::Ailing(rejected),
            _ => Self::Refused(rejected),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::principal::{Scopes, TenantId};

    fn read(status: u16, pass: Passed) -> Answer {
        let fields: [(_, &[u8]); 2] = [("retry-after", b"7"), ("location", b"http://127.0.0.1/")];
        let tenant = TenantId::parse("callback").unwrap();
        let default = DefaultIdentity { tenant, name: "callback".into(), scopes: Scopes::ALL };
        Answer::read(StatusCode::from_u16(status).unwrap(), Statement::of(fields), &default, pass)
    }

    #[test]
    fn only_200_allows() {
        for status in 100..1000 {
            for passes in [false, true] {
                let pass = Passed { forbidden: passes, rate_limited: passes };
                let allowed = matches!(read(status, pass), Answer::Allowed(..));
                assert_eq!(allowed, status == 200, "{status}");
            }
        }
    }

    #[test]
    fn refusals_are_all_alike_unless_they_are_passed() {
        let unsaid = Freshness::Unsaid;
        let seven = Refusal::RateLimited(Some(HeaderValue::from_static("7")));
        let (none, all) = (Passed::default(), Passed { forbidden: true, rate_limited: true });
        let table = [
            (401, none, Answer::Denied(Refusal::Rejected, unsaid)),
            (401, all, Answer::Denied(Refusal::Rejected, unsaid)),
            (403, none, Answer::Denied(Refusal::Rejected, unsaid)),
            (403, all, Answer::Denied(Refusal::Forbidden, unsaid)),
            (429, none, Answer::Refused(Refusal::Rejected)),
            (429, all, Answer::Refused(seven)),
            (500, all, Answer::Ailing(Refusal::Rejected)),
            (503, none, Answer::Ailing(Refusal::Rejected)),
        ];
        for (status, pass, expected) in table {
            assert_eq!(read(status, pass), expected, "{status}");
        }
        for status in [101, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 404, 418, 501] {
            assert_eq!(read(status, all), Answer::Refused(Refusal::Rejected), "{status}");
        }
    }
}
