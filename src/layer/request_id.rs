//! The id that ties an answer, a log line and an upstream request together.

use std::cell::Cell;

use http::{HeaderMap, HeaderValue};

use crate::request::X_REQUEST_ID;
use crate::request::trace::put_hex;

const MAX: usize = 128;

/// The client's own id when it is one line of at most 128 visible ASCII characters, else a fresh one.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut lines = headers.get_all(X_REQUEST_ID).iter();
    match (lines.next(), lines.next()) {
        (Some(id), None) if is_sane(id.as_bytes()) => id.clone(),
        _ => fresh(),
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

thread_local! {
    /// A random start and a count: unique among workers, and no system call for each request.
    static NEXT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// An id that no other answer has.
#[must_use]
pub fn fresh() -> HeaderValue {
    let (seed, count) = NEXT.with(|next| {
        let (mut seed, count) = next.get();
        if seed == 0 {
            seed = getrandom::u64().unwrap_or(1) | 1;
        }
        next.set((seed, count.wrapping_add(1)));
        (seed, count)
    });
    // An odd multiplier permutes the counts, so that ids do not look like a sequence.
    let scattered = count.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.rotate_left(17);
    let mut text = [0_u8; 32];
    for (digits, word) in text.chunks_exact_mut(16).zip([seed, scattered]) {
        put_hex(digits, &word.to_be_bytes());
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (X_REQUEST_ID, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_sane_id_of_the_client_stays() {
        assert_eq!(request_id(&with(&["abc-1"])), "abc-1");
    }

    #[test]
    fn anything_else_is_replaced_by_a_fresh_one() {
        let long = "x".repeat(129);
        for values in [&[][..], &[""], &["a b"], &[&long]] {
            let id = request_id(&with(values));
            assert_eq!(id.len(), 32, "{values:?}");
        }
        let mut twice = with(&["a"]);
        twice.append(X_REQUEST_ID, HeaderValue::from_static("b"));
        assert_eq!(request_id(&twice).len(), 32);
    }

    #[test]
    fn fresh_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| fresh()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
