//! Counters and histograms that many threads add to and that nobody ever waits for.
//!
//! Arrays of atomics, in a few copies of which a thread uses one, so that workers don't write into each other's cache
//! lines; whoever reads adds the copies up. Adding neither locks nor allocates.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How many copies there are of what threads write to. More threads than that share some.
pub const COPIES: usize = 16;
/// Cells that fill two cache lines, which processors fetch in pairs.
const IN_LINE: usize = 16;

thread_local! {
    static COPY: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The copy that the calling thread uses, less than [`COPIES`].
#[must_use]
pub fn copy() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    COPY.with(|copy| {
        copy.get().unwrap_or_else(|| {
            let chosen = NEXT.fetch_add(1, Ordering::Relaxed) % COPIES;
            copy.set(Some(chosen));
            chosen
        })
    })
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; IN_LINE]);

/// Numbered counters.
#[derive(Debug)]
pub struct Counters {
    lines: Box<[Line]>,
    lines_in_copy: usize,
    count: usize,
}

impl Counters {
    /// That many, all zero.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let lines_in_copy = count.div_ceil(IN_LINE);
        let lines = (0..lines_in_copy * COPIES).map(|_| Line::default()).collect();
        Self { lines, lines_in_copy, count }
    }

    /// Adds to the counter of this number; nothing where there is none.
    pub fn add(&self, number: usize, amount: u64) {
        let line = self.lines.get(copy() * self.lines_in_copy + number / IN_LINE);
        if let Some(cell) = line.and_then(|line| line.0.get(number % IN_LINE)) {
            cell.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// What all of them are at, in their order.
    #[must_use]
    pub fn read(&self) -> Vec<u64> {
        let mut sums = vec![0_u64; self.lines_in_copy * IN_LINE];
        for copy in self.lines.chunks(self.lines_in_copy.max(1)) {
            let cells = copy.iter().flat_map(|line| &line.0);
            for (sum, cell) in sums.iter_mut().zip(cells) {
                *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        sums.truncate(self.count);
        sums
    }
}

/// Numbered histograms of durations, with the same buckets.
#[derive(Debug)]
pub struct Histograms {
    bounds: Box<[Duration]>,
    /// The same in nanoseconds.
    nanos: Box<[u64]>,
    /// For each histogram its buckets, the last without a bound, and a sum in nanoseconds.
    cells: Counters,
}

/// What one histogram holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The bounds, inclusive, with how many were at most that; ascending.
    pub up_to: Vec<(Duration, u64)>,
    /// How many there were in all.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
}

impl Histograms {
    /// That many, with buckets up to these ascending bounds and one beyond.
    #[must_use]
    pub fn new(bounds: impl Into<Box<[Duration]>>, count: usize) -> Self {
        let bounds = bounds.into();
        let nanos = bounds.iter().map(|bound| nanos(*bound)).collect();
        let cells = Counters::new(count * (bounds.len() + 2));
        Self { bounds, nanos, cells }
    }

    /// Adds a duration to the histogram of this number.
    pub fn add(&self, number: usize, took: Duration) {
        let nanos = nanos(took);
        let bucket = self.nanos.partition_point(|bound| *bound < nanos);
        let first = number * (self.bounds.len() + 2);
        self.cells.add(first + bucket, 1);
        self.cells.add(first + self.bounds.len() + 1, nanos);
    }

    /// What all of them hold, in their order.
    #[must_use]
    pub fn read(&self) -> Vec<Distribution> {
        let cells = self.cells.read();
        cells.chunks_exact(self.bounds.len() + 2).map(|cells| self.distribution(cells)).collect()
    }

    fn distribution(&self, cells: &[u64]) -> Distribution {
        let mut count = 0;
        let (buckets, rest) = cells.split_at(self.bounds.len());
        let up_to = self.bounds.iter().zip(buckets).map(|(bound, bucket)| {
            count += bucket;
            (*bound, count)
        });
        let up_to = up_to.collect();
        let count = count + rest.first().copied().unwrap_or_default();
        let sum = Duration::from_nanos(rest.last().copied().unwrap_or_default());
        Distribution { up_to, count, sum }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_among_threads() {
        let counters = Counters::new(40);
        std::thread::scope(|scope| {
            for _ in 0..2 * COPIES {
                scope.spawn(|| (0..4_000).for_each(|turn| counters.add(turn % 40, 2)));
            }
        });
        assert_eq!(counters.read(), [2 * COPIES as u64 * 200; 40]);
        counters.add(100_000, 1);
        assert_eq!(counters.read().len(), 40);
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        const BOUNDS: &[Duration] = &[Duration::from_millis(1), Duration::from_millis(10)];
        let histograms = Histograms::new(BOUNDS, 2);
        for micros in [0, 1_000, 1_001, 10_000, 10_001] {
            histograms.add(1, Duration::from_micros(micros));
        }
        let [none, some] = &histograms.read()[..] else { panic!("not two") };
        assert_eq!((none.count, none.sum), (0, Duration::ZERO));
        let counts: Vec<u64> = some.up_to.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts, some.count), (vec![2, 4], 5));
        assert_eq!(some.sum, Duration::from_micros(22_002));
    }
}
