//! Files in pieces, sets against a map, and what it all takes.

use std::collections::BTreeMap;

use super::*;

/// What a file comes to when it is taken in pieces that end at these places.
fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Result<Vec<String>, Vec<String>>, NotText> {
    let mut draft = KeyDraft::default();
    let mut file = KeyFile::new(&mut draft, "keys", 0);
    let mut rest = bytes;
    for cut in cuts {
        let (piece, more) = rest.split_at((*cut).min(rest.len()));
        file.take(piece)?;
        rest = more;
    }
    file.take(rest)?;
    file.end()?;
    let told = |problems: Problems| problems.iter().map(ToString::to_string).collect();
    Ok(draft.finish(None).map_err(told).map(|set| {
        let entry = |key: Key<'_>| format!("{key:?} {:?} {:?}", key.name(), key.expires());
        set.iter().map(entry).collect()
    }))
}

const FILES: [&str; 8] = [
    "\u{feff}# of both teams\r\nteam-a:sk-a:admin|exec, team-b:sk-b:read # \u{fc}\n\nteam-a:x\n",
    "\u{feff}[{\"tenantID\":\"team-a\",\"key\":\"sk-a\",\"scopes\":[\"read\"],\"name\":\"\u{fc}\"},\n{}]",
    "\n\n \n{\"tenantID\":1}",
    " [",
    "[]",
    "\u{feff}",
    " \n ",
    "a:k:read",
];

#[test]
fn how_a_file_is_cut_does_not_matter() {
    for text in FILES {
        let whole = in_pieces(text.as_bytes(), &[]).unwrap();
        for first in 0..text.len().min(40) {
            for second in [1, 2, 7] {
                let cut = in_pieces(text.as_bytes(), &[first, second, 1]).unwrap();
                assert_eq!(cut, whole, "{text:?} at {first} and {second}");
            }
        }
    }
}

#[test]
fn what_is_not_text_is_refused_wherever_it_stands() {
    for text in ["\u{feff}a:k:read\nb:\u{fc}:read\nc:k2:read\n", "[{\"tenantID\":\"\u{fc}\"}]"] {
        for at in (0..text.len()).filter(|at| !text.is_char_boundary(*at)) {
            let mut broken = text.as_bytes().to_vec();
            broken[at] = b'x';
            assert_eq!(in_pieces(&broken, &[at, 1]), Err(NotText), "{text:?} at {at}");
            assert_eq!(in_pieces(&text.as_bytes()[..at], &[]), Err(NotText), "{text:?} to {at}");
        }
    }
}

proptest! {
    #[test]
    fn pieces_make_the_whole(text in "[a-b:,#\\s\\[{\"\u{80}]{0,60}", cuts in prop::collection::vec(0..9_usize, 0..9)) {
        prop_assert_eq!(in_pieces(text.as_bytes(), &cuts), in_pieces(text.as_bytes(), &[]));
    }

    /// Few keys and tenants, so that lists of them have much in common.
    #[test]
    fn a_set_holds_what_a_map_holds(
        lists in prop::collection::vec(prop::collection::vec((0..40_u8, 0..4_u8, 0..3_usize), 0..60), 2..4),
    ) {
        const SCOPES: [&str; 3] = ["read", "exec|read", "admin"];
        let (mut set, mut before) = (KeySet::default(), BTreeMap::new());
        for entries in lists {
            // What was said first of a key counts; a list that contradicts itself would be refused.
            let mut wanted = BTreeMap::new();
            let mut draft = KeyDraft::default();
            for (key, tenant, scopes) in entries {
                let (tenant, scopes) = *wanted.entry(key).or_insert((tenant, scopes));
                read_list(&mut draft, "KEYS", &format!("t{tenant}:k{key}:{}", SCOPES[scopes]));
            }
            let new = draft.finish(Some(&set)).unwrap();
            prop_assert_eq!(new.len(), wanted.len());
            let kept = before.iter().filter(|(key, said)| wanted.get(key) == Some(said)).count();
            prop_assert_eq!(new.missing_from(&set), before.len() - kept);
            for key in 0..40 {
                let digest = KeyDigest::of(format!("k{key}").as_bytes());
                let found = new.find(&digest);
                let said = found.map(|key| (key.tenant().to_string(), key.scopes().to_string()));
                let expected = wanted.get(&key).map(|(tenant, scopes)| (format!("t{tenant}"), SCOPES[*scopes].to_owned()));
                prop_assert_eq!(said, expected);
                let Some(found) = found else { continue };
                prop_assert_eq!(new.by_id(&found.id()).map(|key| key.digest()), Some(found.digest()));
                let is_kept = before.get(&key) == wanted.get(&key);
                let since = if is_kept { set.find(&digest).unwrap().since() } else { new.edition() };
                prop_assert_eq!(found.since(), since);
            }
            for number in 0..4 {
                let tenant = TenantId::parse(&format!("t{number}")).unwrap();
                let expected = wanted.values().filter(|(tenant, _)| *tenant == number).count();
                prop_assert_eq!(new.of_tenant(&tenant).count(), expected);
                prop_assert!(new.of_tenant(&tenant).all(|key| *key.tenant() == tenant));
            }
            prop_assert_eq!(new.admins().count(), wanted.values().filter(|(_, scopes)| *scopes == 2).count());
            (set, before) = (new, wanted);
        }
    }
}
