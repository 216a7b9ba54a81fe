//! Suggests the name that was probably meant.

/// The first candidate of which `name` leaves out some words, else the one that differs least from it, by no more than
/// a third.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| {
            (if shortens(name, candidate) { 0 } else { distance(name, candidate) }, candidate)
        })
        .filter(|(distance, _)| *distance <= name.chars().count() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether the words of `name` are those of `candidate`, in order, with some left out. Two words say too little.
fn shortens(name: &str, candidate: &str) -> bool {
    let words = |text| str::split(text, ['.', '_']);
    let mut rest = words(candidate);
    words(name).count() > 2 && words(name).all(|word| rest.any(|other| other == word))
}

/// How many characters to insert, delete or replace (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left = index + 1;
        next.push(left);
        for (b, above) in to.iter().zip(row.windows(2)) {
            let [diagonal, above] = above else { continue };
            left = (diagonal + usize::from(a != *b)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, edits) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("listen", "listn", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let names = ["listen", "domain", "workers"];
        assert_eq!(nearest("lisen", names), Some("listen"));
        assert_eq!(nearest("worker", names), Some("workers"));
        assert_eq!(nearest("frobnicate", names), None);
        assert_eq!(nearest("", names), None);
        let names = ["auth.callback.url", "auth.callback.cache_ttl", "server.one_port"];
        assert_eq!(nearest("auth.callback.ttl", names), Some("auth.callback.cache_ttl"));
        assert_eq!(nearest("auth.callback.ulr", names), Some("auth.callback.url"));
        assert_eq!(nearest("server.port", names), None);
    }
}
