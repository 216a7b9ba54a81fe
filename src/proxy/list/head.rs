//! The head of a listing's answer: nothing in it may tell of entries that were left out.

use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, LINK,
};

/// E2B's count of running sandboxes that pass the filter, on all pages.
pub const X_TOTAL_RUNNING: HeaderName = HeaderName::from_static("x-total-running");
const X_NEXT_TOKEN: HeaderName = HeaderName::from_static("x-next-token");

/// Words of names that promise a count or a fingerprint of all that the upstream listed.
const TELLING: [&str; 6] = ["total", "totals", "count", "digest", "md5", "checksum"];

/// Takes out what counts or identifies the upstream's answer as it was. Whether it told [`X_TOTAL_RUNNING`], and what.
pub fn hush(head: &mut HeaderMap) -> Option<HeaderValue> {
    let total = head.remove(X_TOTAL_RUNNING);
    let telling: Vec<HeaderName> = head.keys().filter(|name| is_telling(name)).cloned().collect();
    for name in telling {
        head.remove(name);
    }
    total
}

/// Whether there are more pages.
#[must_use]
pub fn goes_on(head: &HeaderMap) -> bool {
    head.contains_key(X_NEXT_TOKEN)
}

fn is_telling(name: &HeaderName) -> bool {
    matches!(*name, ACCEPT_RANGES | CONTENT_RANGE | ETAG | LAST_MODIFIED | LINK)
        || name.as_str().split(['-', '_', '.']).any(|word| TELLING.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_of_others_goes() {
        let names = [
            "x-total-running",
            "x-total-count",
            "etag",
            "content-digest",
            "link",
            "x-next-token",
            "x-account",
            "date",
            "ratelimit-remaining",
        ];
        let mut head: HeaderMap = names
            .iter()
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("7")))
            .collect();
        assert_eq!(hush(&mut head).unwrap(), "7");
        let mut left: Vec<_> = head.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["date", "ratelimit-remaining", "x-account", "x-next-token"]);
        assert!(goes_on(&head));
    }
}
