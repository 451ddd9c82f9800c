//! Work shared among the processors.

use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

/// Does `work` for consecutive shares of `items`, one share for each processor,
/// and returns the results in order. Fewer than `many` items are one share, for
/// threads would cost more than they save.
pub(crate) fn shares<T: Sync, R: Send>(items: &[T], many: usize, work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    if items.len() < many.max(2) {
        return vec![work(items)];
    }
    // It reads files of the kernel: not for a handful of items.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if processors == 1 {
        return vec![work(items)];
    }
    let mut chunks = items.chunks(items.len().div_ceil(processors));
    let own = chunks.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = chunks.map(|share| scope.spawn(|| work(share))).collect();
        let join = |thread: ScopedJoinHandle<'_, R>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        std::iter::once(work(own)).chain(others.into_iter().map(join)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_and_leaves_nothing_out() {
        let items: Vec<u32> = (0..1001).collect();
        for many in [0, 10, 1002] {
            assert_eq!(shares(&items, many, <[u32]>::to_vec).concat(), items, "{many}");
        }
        assert_eq!(shares(&[] as &[u32], 0, <[u32]>::to_vec).concat(), Vec::<u32>::new());
    }
}
