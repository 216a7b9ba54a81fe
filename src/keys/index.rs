//! An open-addressing table from tags to the numbers of rows that are kept elsewhere.
//!
//! Four bytes a slot, so that what requests read at random is small: a look-up takes one or two cache lines here and
//! one row. The upper bits of a tag say where it belongs; beside a row's number there is room for some of the lower,
//! which tell nearly every other row apart without looking at it.

/// Slots for each five rows.
const SPARSE: usize = 6;

/// Rounds in which a table is filled, as a power of two: a million rows take 600 KB in each.
const ROUNDS: u32 = 3;

/// Numbers of rows, by 32 bits of whatever they are found by.
#[derive(Default)]
pub(super) struct Index {
    /// Zero where nothing is; else the lower bits of the tag above the row's number plus one.
    slots: Vec<u32>,
    rows: usize,
    /// How many bits the largest number takes.
    width: u32,
}

impl Index {
    /// A table that takes the first so many rows without growing.
    fn with_room_for(rows: usize) -> Self {
        Self { slots: vec![0; slots_for(rows)], rows: 0, width: bits(rows) }
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
                match index.seek(*tag, |other| is_same(other, row)) {
                    Ok(first) => repeated.push((first, row)),
                    Err(vacant) => index.put(vacant, *tag, row),
                }
            }
        }
        repeated.sort_unstable_by_key(|(_, row)| *row);
        (index, repeated)
    }

    /// The first row of this tag that `is_it`. It may be asked of rows with other tags.
    pub(super) fn find(&self, tag: u32, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.seek(tag, is_it).ok()
    }

    /// Puts a row in. `tag_of` tells the tags of those that are there.
    pub(super) fn insert(&mut self, tag: u32, row: u32, tag_of: impl Fn(u32) -> u32) {
        let is_wide_enough = row.saturating_add(1) >> self.width == 0;
        if slots_for(self.rows + 1) > self.slots.len() || !is_wide_enough {
            let old = std::mem::take(self);
            *self = Self::with_room_for(2 * old.rows + 4);
            self.width = self.width.max(bits(row as usize + 1));
            let numbers = (1 << old.width) - 1;
            for row in old.slots.iter().filter_map(|slot| (*slot & numbers).checked_sub(1)) {
                self.put_first(tag_of(row), row);
            }
        }
        self.put_first(tag, row);
    }

    fn put_first(&mut self, tag: u32, row: u32) {
        if let Err(vacant) = self.seek(tag, |_| false) {
            self.put(vacant, tag, row);
        }
    }

    /// The row that was looked for, or the slot where its like belongs.
    fn seek(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Result<u32, usize> {
        let home = self.home(tag);
        let (before, after) = self.slots.split_at_checked(home).unwrap_or_default();
        let around = after.iter().zip(home..).chain(before.iter().zip(0..));
        let (numbers, wanted) = ((1 << self.width) - 1, tag << self.width);
        for (slot, at) in around {
            let Some(row) = (*slot & numbers).checked_sub(1) else { return Err(at) };
            if *slot & !numbers == wanted && is_it(row) {
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
            *slot = tag << self.width | row.saturating_add(1);
            self.rows += 1;
        }
    }
}

/// How many bits a number takes. Lists are bounded far below two thousand million rows.
const fn bits(number: usize) -> u32 {
    let bits = usize::BITS - number.leading_zeros();
    if bits < 31 { bits } else { 31 }
}

/// Never all of them: a search ends at an empty slot.
const fn slots_for(rows: usize) -> usize {
    if rows == 0 { 0 } else { rows + rows.div_ceil(SPARSE - 1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Key = (u32, u8);

    /// Few tags, so that they share slots, at both ends of the range, where the search wraps around; marks tell rows of
    /// one tag apart.
    fn keys() -> impl Strategy<Value = Vec<Key>> {
        let tag = prop_oneof![0..6_u32, u32::MAX - 5..=u32::MAX, any::<u32>()];
        prop::collection::vec((tag, 0..4_u8), 0..200)
    }

    fn first_of(keys: &[Key], key: Key) -> Option<u32> {
        keys.iter().position(|other| *other == key).map(|row| u32::try_from(row).unwrap())
    }

    proptest! {
        #[test]
        fn it_holds_what_a_list_holds(
            keys in keys(), room in 0..250_usize, apart in prop_oneof![Just(1_u32), 2..10_000_u32],
        ) {
            let mut index = Index::with_room_for(room);
            let at = |row: u32| keys[(row / apart) as usize];
            for (number, (tag, _)) in (0..).zip(&keys) {
                index.insert(*tag, number * apart, |row| at(row).0);
            }
            prop_assert_eq!(index.rows, keys.len());
            for key in keys.iter().copied().chain((0..12).map(|tag| (tag, 9))) {
                // Of rows that are alike it may be any.
                let found = index.find(key.0, |row| at(row) == key).map(at);
                prop_assert_eq!(found, keys.iter().copied().find(|other| *other == key));
            }
        }

        #[test]
        fn filled_at_once_it_holds_the_first_of_each(keys in keys()) {
            let tags: Vec<_> = keys.iter().map(|key| key.0).collect();
            let (index, repeated) = Index::of(&tags, |a, b| keys[a as usize] == keys[b as usize]);
            let firsts = keys.iter().zip(0..).map(|(key, row)| (first_of(&keys, *key).unwrap(), row));
            prop_assert_eq!(repeated, firsts.filter(|(first, row)| first != row).collect::<Vec<_>>());
            for key in keys.iter().copied().chain((0..12).map(|tag| (tag, 9))) {
                let found = index.find(key.0, |row| keys[row as usize] == key);
                prop_assert_eq!(found, first_of(&keys, key));
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
    fn a_million_rows_take_less_than_five_bytes_each_and_are_told_apart() {
        let tags: Vec<_> = (0..1_000_000_u32).map(|row| row.wrapping_mul(0x9e37_79b9)).collect();
        let (index, _) = Index::of(&tags, |_, _| false);
        assert!(index.slots.len() * size_of::<u32>() < 5_000_000);
        let mut looked_at = 0;
        for (tag, row) in tags.iter().zip(0..).step_by(100) {
            let is_it = |other| {
                looked_at += 1;
                other == row
            };
            assert_eq!(index.find(*tag, is_it), Some(row));
        }
        assert!(looked_at < 10_100, "{looked_at} rows were looked at to find 10,000");
    }
}
