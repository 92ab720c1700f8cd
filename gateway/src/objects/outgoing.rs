//! The memory of bodies on their way out.
//!
//! An object is read in windows; what was read and not yet taken by its client lies here. All windows together fit
//! into a budget: each reader's share of it becomes smaller the more there are, and when it is used up, the oldest
//! windows are let go of, which are those of the slowest clients. Their readers read again what they still
//! need, most often from the cache. So nobody waits for a client that takes slowly, and none is refused.
//!
//! Invariant: the bytes of all windows <= the budget. Pieces that were handed out are no more here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::PIECE_BYTES;

/// The smallest share of a reader.
const SHARE_BYTES_MIN: usize = 64 << 10;

/// The budget, and all windows.
pub(super) struct Outgoing {
    bytes_max: usize,
    readers: AtomicUsize,
    held: Mutex<Held>,
}

/// Windows by their age: each has a higher number than all before it.
#[derive(Default)]
struct Held {
    bytes: usize,
    next: u64,
    windows: BTreeMap<u64, VecDeque<Bytes>>,
}

impl Held {
    fn put(&mut self, pieces: VecDeque<Bytes>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.bytes += length(&pieces);
        self.windows.insert(number, pieces);
        number
    }

    fn pop(&mut self, number: u64) -> Option<Bytes> {
        let pieces = self.windows.get_mut(&number)?;
        let piece = pieces.pop_front();
        if pieces.is_empty() {
            self.windows.remove(&number);
        }
        self.bytes -= piece.as_ref().map_or(0, Bytes::len);
        piece
    }

    fn remove(&mut self, number: u64) {
        if let Some(pieces) = self.windows.remove(&number) {
            self.bytes -= length(&pieces);
        }
    }

    fn let_go_of_oldest(&mut self) {
        if let Some((_, pieces)) = self.windows.pop_first() {
            self.bytes -= length(&pieces);
        }
    }
}

fn length(pieces: &VecDeque<Bytes>) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

impl Outgoing {
    /// Of so many bytes; it is made large enough for one piece.
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        let bytes_max = bytes_max.max(PIECE_BYTES);
        Arc::new(Self { bytes_max, readers: AtomicUsize::new(0), held: Mutex::default() })
    }

    /// The window of a new reader, which is empty.
    pub(super) fn window(self: &Arc<Self>) -> Window {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Window { of: self.clone(), number: None }
    }
}

/// What one reader has read and its client has not yet taken.
pub(super) struct Window {
    of: Arc<Outgoing>,
    number: Option<u64>,
}

impl Window {
    /// How many bytes its reader should read at once.
    pub(super) fn share_bytes(&self) -> usize {
        let readers = self.of.readers.load(Ordering::Relaxed).max(1);
        (self.of.bytes_max / readers).clamp(SHARE_BYTES_MIN, PIECE_BYTES)
    }

    /// The next piece. None when there is no more, or what there was has been let go of.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        self.of.held.lock().pop(self.number?)
    }

    /// From now on these pieces are next, and no others.
    pub(super) fn put(&mut self, pieces: VecDeque<Bytes>) {
        let mut held = self.of.held.lock();
        if let Some(number) = self.number.take() {
            held.remove(number);
        }
        if pieces.is_empty() {
            return;
        }
        self.number = Some(held.put(pieces));
        while held.bytes > self.of.bytes_max {
            held.let_go_of_oldest();
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.of.held.lock().remove(number);
        }
        self.of.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(count: usize) -> VecDeque<Bytes> {
        (0..count).map(|number| Bytes::from(vec![number as u8; SHARE_BYTES_MIN])).collect()
    }

    #[test]
    fn pieces_come_in_order_and_once() {
        let all = Outgoing::new(PIECE_BYTES);
        let mut window = all.window();
        assert_eq!(window.pop(), None);
        window.put(pieces(3));
        for number in 0..3 {
            assert_eq!(window.pop().expect("a piece")[0], number);
        }
        assert_eq!(window.pop(), None);
        assert_eq!(all.held.lock().bytes, 0);
        window.put(pieces(2));
        drop(window);
        assert_eq!(all.held.lock().bytes, 0);
    }

    #[test]
    fn the_oldest_window_makes_room_for_the_newest() {
        let all = Outgoing::new(PIECE_BYTES);
        let (mut slow, mut fast) = (all.window(), all.window());
        slow.put(pieces(10));
        assert!(slow.pop().is_some());
        fast.put(pieces(10));
        assert_eq!(slow.pop(), None, "it is to be read again");
        for _ in 0..10 {
            assert!(fast.pop().is_some());
        }
        slow.put(pieces(1));
        assert_eq!(slow.pop().expect("a piece").len(), SHARE_BYTES_MIN);
    }

    #[test]
    fn many_readers_read_less_at_once_and_all_fit() {
        let all = Outgoing::new(4 * PIECE_BYTES);
        let first = all.window();
        assert_eq!(first.share_bytes(), PIECE_BYTES);
        let mut others: Vec<_> = (0..99).map(|_| all.window()).collect();
        assert_eq!(first.share_bytes(), SHARE_BYTES_MIN);
        for window in &mut others {
            window.put(pieces(2));
            assert!(all.held.lock().bytes <= 4 * PIECE_BYTES);
        }
        drop(others);
        assert_eq!((first.share_bytes(), all.held.lock().bytes), (PIECE_BYTES, 0));
    }
}
