//! What is going to happen, ordered by time and, at one instant, by when it was decided.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A queue of events ordered by `(time, sequence)`. Its length is bounded by what is under way.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    decided: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> Entry<E> {
    fn order(&self) -> (u64, u64) {
        (self.at, self.number)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// Reversed: the heap gives out the largest, which must be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.order().cmp(&self.order())
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), decided: 0 }
    }
}

impl<E> Queue<E> {
    /// Decides that `event` happens at `at`.
    pub(crate) fn push(&mut self, at: u64, event: E) {
        self.decided += 1;
        self.heap.push(Entry { at, number: self.decided, event });
    }

    /// True if an event that will happen is `such`.
    pub(crate) fn any(&self, such: impl Fn(&E) -> bool) -> bool {
        self.heap.iter().any(|entry| such(&entry.event))
    }

    /// The next event, if it happens at `until` or before.
    pub(crate) fn pop(&mut self, until: u64) -> Option<(u64, E)> {
        let next = self.heap.peek().is_some_and(|entry| entry.at <= until);
        next.then(|| self.heap.pop()).flatten().map(|entry| (entry.at, entry.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_at_one_instant_happen_in_the_order_they_were_decided() {
        let mut queue = Queue::default();
        [(5, 'a'), (3, 'b'), (5, 'c'), (3, 'd')].into_iter().for_each(|(at, event)| queue.push(at, event));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(4)).collect();
        assert_eq!(order, [(3, 'b'), (3, 'd')]);
        assert_eq!(queue.pop(9), Some((5, 'a')));
    }
}
