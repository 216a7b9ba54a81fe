//! A list in blocks, so that it grows to any length without ever being copied.

/// Items of a block, as a power of two.
const BLOCK: u32 = 13;

/// Items by number.
pub(super) struct Blocks<T> {
    blocks: Vec<Vec<T>>,
    len: u32,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), len: 0 }
    }
}

impl<T> Blocks<T> {
    /// How many there are.
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// Adds one at the end.
    pub(super) fn push(&mut self, item: T) {
        if self.blocks.last().is_none_or(|block| block.len() == 1 << BLOCK) {
            // A short list needs no whole block.
            let room = if self.blocks.is_empty() { 0 } else { 1 << BLOCK };
            self.blocks.push(Vec::with_capacity(room));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push(item);
            self.len += 1;
        }
    }

    /// The item of this number.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (block, at) = split(number);
        self.blocks.get(block)?.get(at)
    }

    /// The item of this number, to be changed.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (block, at) = split(number);
        self.blocks.get_mut(block)?.get_mut(at)
    }

    /// Forgets all but the first `len`.
    pub(super) fn truncate(&mut self, len: u32) {
        let (whole, rest) = split(len);
        self.blocks.truncate(whole + usize::from(rest > 0));
        if let Some(last) = self.blocks.get_mut(whole) {
            last.truncate(rest);
        }
        self.len = self.len.min(len);
    }

    /// Gives back what was taken for more to come.
    pub(super) fn shrink(&mut self) {
        if let Some(last) = self.blocks.last_mut() {
            last.shrink_to_fit();
        }
        self.blocks.shrink_to_fit();
    }
}

impl<T: Copy> Blocks<T> {
    /// Puts what is in one place in another as well.
    pub(super) fn copy(&mut self, from: u32, to: u32) {
        if let (Some(item), Some(place)) = (self.get(from).copied(), self.get_mut(to)) {
            *place = item;
        }
    }
}

const fn split(number: u32) -> (usize, usize) {
    ((number >> BLOCK) as usize, (number & ((1 << BLOCK) - 1)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list() {
        let whole = 1 << BLOCK;
        for count in [0, 1, whole - 1, whole, whole + 1, 3 * whole] {
            let mut list = Blocks::default();
            (0..count).for_each(|item| list.push(item));
            assert_eq!(list.len(), count);
            assert!((0..count).all(|number| list.get(number) == Some(&number)));
            assert!(list.get(count).is_none() && list.get_mut(count).is_none());
            for kept in [count, count.saturating_sub(1), whole.min(count / 2), 0] {
                list.truncate(kept);
                list.shrink();
                assert_eq!(list.len(), kept);
                assert!(list.get(kept).is_none());
                assert!(kept == 0 || list.get(kept - 1) == Some(&(kept - 1)));
            }
        }
    }
}
