//! The same work on many things, on threads that end with it. Not on a pool's: a forked child has
//! none of its parent's threads, and would wait for them.

#[cfg(feature = "mlx")]
use std::convert::Infallible;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "mlx")]
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};

/// The most threads at a time, this one included: more would wait for memory.
const MAX_THREADS: usize = 4;

/// What `make` makes of each item, in their order. Threads take items one by one from the first on:
/// with the largest first, none ends up alone with it.
///
/// # Errors
/// One of those of `make`. Items that nobody has taken by then may be left out.
pub(super) fn each<T: Sync, R: Send, E: Send>(
    items: &[T],
    make: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut made = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            match items.get(index) {
                Some(item) => made.push((index, make(item)?)),
                None => return Ok(made),
            }
        }
    };
    let threads = match items.len() {
        // Asking the system takes longer than what is small.
        0 | 1 => 1,
        _ => available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS)),
    };
    let parts = thread::scope(|scope| {
        // Where the system gives no thread, the others do its part.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, some).ok();
        let others: Vec<_> = (1..threads.min(items.len())).filter_map(spawn).collect();
        let mut parts = vec![some()];
        let ended = others.into_iter().map(|other| other.join());
        parts.extend(ended.map(|part| part.unwrap_or_else(|panic| resume_unwind(panic))));
        parts
    });
    let mut made = Vec::with_capacity(items.len());
    for part in parts {
        made.extend(part?);
    }
    made.sort_unstable_by_key(|(index, _)| *index);
    Ok(made.into_iter().map(|(_, made)| made).collect())
}

/// Copies elements of `size` bytes to as many places, a piece at a time by `write`. What takes the time
/// is that the system gives pages to the one and finds those of the other.
#[cfg(feature = "mlx")]
pub(super) fn copy<T: Send>(
    from: &[u8],
    size: usize,
    to: &mut [T],
    write: impl Fn(&mut [T], &[u8]) + Sync,
) {
    /// Elements that one thread copies at a time.
    const PIECE: usize = 1 << 18;

    let pieces = to.chunks_mut(PIECE).zip(from.chunks(PIECE * size));
    let pieces: Vec<_> = pieces.map(Mutex::new).collect();
    let Ok(_) = each(&pieces, |piece| {
        let (to, from) = &mut *piece.lock().unwrap_or_else(PoisonError::into_inner);
        write(to, from);
        Ok::<_, Infallible>(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_made_once_and_stands_in_its_place() {
        let items: Vec<usize> = (0..1000).collect();
        let calls = AtomicUsize::new(0);
        let doubled = each(&items, |item| {
            calls.fetch_add(1, Ordering::Relaxed);
            Ok::<_, ()>(item * 2)
        });
        let expected: Vec<usize> = items.iter().map(|item| item * 2).collect();
        assert_eq!(doubled, Ok(expected));
        assert_eq!(calls.into_inner(), items.len());
        assert_eq!(each(&[], |_: &()| Ok::<_, ()>(())), Ok(vec![]));
    }

    #[cfg(feature = "mlx")]
    #[test]
    fn elements_are_copied_whatever_their_number() {
        for len in [0, 1, (1 << 18) - 1, (3 << 18) + 5] {
            let from: Vec<u8> = (0..2 * len).map(|place| (place % 251) as u8).collect();
            let mut to = vec![[0; 2]; len];
            copy(&from, 2, &mut to, |to, from| {
                to.as_flattened_mut().copy_from_slice(from)
            });
            assert!(to.as_flattened() == from);
        }
    }

    #[test]
    fn an_error_of_any_thread_is_the_result() {
        for bad in [0, 500, 999] {
            let items: Vec<usize> = (0..1000).collect();
            let made = each(&items, |&item| if item == bad { Err(item) } else { Ok(()) });
            assert_eq!(made, Err(bad));
        }
    }
}
