//! An open-addressing table from tags to the numbers of rows that are kept elsewhere.
//!
//! Eight bytes a slot, and the slots of one tag stand together: a look-up reads one or two cache lines here and one row,
//! however many there are. The upper bits of a tag say where it belongs, so that a table can grow without its rows.

/// Slots for each five rows.
const SPARSE: usize = 6;

/// Rounds in which a table is filled, as a power of two: a million rows take a megabyte in each.
const ROUNDS: u32 = 3;

/// Numbers of rows, by 32 bits of whatever they are found by.
#[derive(Default)]
pub(super) struct Index {
    /// Zero where nothing is; else the tag above the row's number plus one.
    slots: Vec<u64>,
    rows: usize,
}

impl Index {
    /// A table that takes so many rows without growing.
    pub(super) fn with_room_for(rows: usize) -> Self {
        Self { slots: vec![0; slots_for(rows)], rows: 0 }
    }

    /// A table of the rows with these tags, by their places, and for each row that `is_same` as an earlier one both.
    ///
    /// It is filled from one end to the other, in a few rounds: rows in their own order would go all over a table that
    /// no cache holds.
    pub(super) fn of(
        tags: &[u32],
        mut is_same: impl FnMut(u32, u32) -> bool,
    ) -> (Self, Vec<(u32, u32)>) {
        let (mut index, mut repeated) = (Self::with_room_for(tags.len()), Vec::new());
        for round in 0..1 << ROUNDS {
            let of_round = tags.iter().zip(0..).filter(|(tag, _)| **tag >> (32 - ROUNDS) == round);
            for (tag, row) in of_round {
                let first = index.find_or_insert(*tag, row, |other| is_same(other, row));
                repeated.extend(first.map(|first| (first, row)));
            }
        }
        repeated.sort_unstable_by_key(|(_, row)| *row);
        (index, repeated)
    }

    /// The first row of this tag that `is_it`.
    pub(super) fn find(&self, tag: u32, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.seek(tag, is_it).ok()
    }

    /// The row of this tag that `is_it`. Where there is none, `row` is put in.
    pub(super) fn find_or_insert(
        &mut self,
        tag: u32,
        row: u32,
        is_it: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        if slots_for(self.rows + 1) > self.slots.len() {
            self.grow();
        }
        let vacant = match self.seek(tag, is_it) {
            Ok(found) => return Some(found),
            Err(vacant) => vacant,
        };
        self.put(vacant, tag, row);
        None
    }

    /// The row that was looked for, or the slot where its like belongs.
    fn seek(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Result<u32, usize> {
        let home = self.home(tag);
        let (before, after) = self.slots.split_at_checked(home).unwrap_or_default();
        let around = after.iter().zip(home..).chain(before.iter().zip(0..));
        for (slot, at) in around {
            let Some((held, row)) = read(*slot) else { return Err(at) };
            if held == tag && is_it(row) {
                return Ok(row);
            }
        }
        // There is room unless nothing was ever put in.
        Err(usize::MAX)
    }

    /// Where the search for a tag begins.
    fn home(&self, tag: u32) -> usize {
        let scaled = (u128::from(tag) * self.slots.len() as u128) >> 32;
        usize::try_from(scaled).unwrap_or_default()
    }

    fn put(&mut self, at: usize, tag: u32, row: u32) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = filled(tag, row);
            self.rows += 1;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::replace(self, Self::with_room_for(2 * self.rows + 4));
        for (tag, row) in old.slots.into_iter().filter_map(read) {
            if let Err(vacant) = self.seek(tag, |_| false) {
                self.put(vacant, tag, row);
            }
        }
    }
}

/// Never all of them: a search ends at an empty slot.
const fn slots_for(rows: usize) -> usize {
    if rows == 0 { 0 } else { rows + rows.div_ceil(SPARSE - 1) }
}

fn filled(tag: u32, row: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(row.saturating_add(1))
}

/// The tag and the row of a slot.
fn read(slot: u64) -> Option<(u32, u32)> {
    let row = u32::try_from(slot & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
    Some((u32::try_from(slot >> 32).ok()?, row))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few tags, so that they share slots, at both ends of the range, where the search wraps around.
        #[test]
        fn it_holds_what_a_map_holds(
            keys in prop::collection::vec((prop_oneof![0..6_u32, u32::MAX - 5..=u32::MAX, any::<u32>()], 0..4_u8), 0..200),
            room in 0..250_usize,
        ) {
            let (mut index, mut map) = (Index::with_room_for(room), HashMap::new());
            for (number, key) in keys.iter().enumerate() {
                let row = u32::try_from(number).unwrap();
                let put = index.find_or_insert(key.0, row, |other| keys[other as usize] == *key);
                let known = map.insert(*key, row).inspect(|known| { map.insert(*key, *known); });
                prop_assert_eq!(put, known);
            }
            prop_assert_eq!(index.rows, map.len());
            for (tag, mark) in keys.iter().copied().chain((0..12).map(|tag| (tag, 9))) {
                let found = index.find(tag, |row| keys[row as usize] == (tag, mark));
                prop_assert_eq!(found, map.get(&(tag, mark)).copied());
            }
        }
    }

    proptest! {
        #[test]
        fn all_at_once_is_as_one_by_one(
            keys in prop::collection::vec((prop_oneof![0..6_u32, u32::MAX - 5..=u32::MAX, any::<u32>()], 0..4_u8), 0..200),
        ) {
            let is_same = |a: u32, b: u32| keys[a as usize] == keys[b as usize];
            let (mut one_by_one, mut expected) = (Index::default(), Vec::new());
            for (key, row) in keys.iter().zip(0..) {
                let first = one_by_one.find_or_insert(key.0, row, |other| is_same(other, row));
                expected.extend(first.map(|first| (first, row)));
            }
            let tags: Vec<_> = keys.iter().map(|key| key.0).collect();
            let (index, repeated) = Index::of(&tags, is_same);
            prop_assert_eq!(repeated, expected);
            for key in &keys {
                let is_it = |row: u32| keys[row as usize] == *key;
                prop_assert_eq!(index.find(key.0, is_it), one_by_one.find(key.0, is_it));
            }
        }
    }

    #[test]
    fn an_empty_table_has_nothing() {
        assert_eq!(Index::default().find(0, |_| true), None);
        assert_eq!(Index::with_room_for(0).find(u32::MAX, |_| true), None);
        assert_eq!(Index::with_room_for(1).find(u32::MAX, |_| true), None);
    }

    #[test]
    fn a_million_rows_take_less_than_ten_bytes_each() {
        assert!(slots_for(1_000_000) * size_of::<u64>() < 10_000_000);
    }
}
