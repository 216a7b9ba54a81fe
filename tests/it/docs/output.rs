//! What commands print, held against what a page says they print.
//!
//! `…` stands for anything within a line, and for any number of lines where it is alone. Blanks and tabs are alike, and
//! so is how many there are: columns are aligned for people only.

/// Whether `printed` is what `said` says.
pub(super) fn is_as_said(said: &str, printed: &str) -> bool {
    let (said, printed) = (plain(said), plain(printed));
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    let printed: Vec<&str> = printed.iter().map(String::as_str).collect();
    lines_match(&said, &printed)
}

fn plain(text: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim_end().lines().map(words).collect()
}

fn lines_match(said: &[&str], printed: &[&str]) -> bool {
    let Some((first, rest)) = said.split_first() else { return printed.is_empty() };
    if *first == "…" {
        return (0..=printed.len()).any(|passed| lines_match(rest, &printed[passed..]));
    }
    printed
        .split_first()
        .is_some_and(|(line, others)| line_matches(first, line) && lines_match(rest, others))
}

fn line_matches(said: &str, printed: &str) -> bool {
    let Some((start, rest)) = said.split_once('…') else { return said == printed };
    printed.strip_prefix(start).is_some_and(|tail| {
        let cuts = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
        cuts.into_iter().any(|at| line_matches(rest, &tail[at..]))
    })
}

#[test]
fn dots_stand_for_what_differs_and_for_nothing_else() {
    for (said, printed, expected) in [
        ("a\nb", "a\nb\n", true),
        ("a", "a\nb", false),
        ("a\nb", "a", false),
        ("id …, x", "id 17, x", true),
        ("id …, x", "id 17, y", false),
        ("a … b … c", "a 1 b 2 c", true),
        ("…", "", true),
        ("…\nlast", "1\n2\nlast", true),
        ("first\n…", "first\n2", true),
        ("first\n…\nlast", "first\n2", false),
        ("", "x", false),
        ("  a   b", "a\tb", true),
        ("a b", "ab", false),
    ] {
        assert_eq!(is_as_said(said, printed), expected, "{said:?} {printed:?}");
    }
}
