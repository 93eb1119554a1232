//! Two lines, and whose turn it is.

use std::collections::VecDeque;

use super::request::Lane;

/// Turns of queries, one after the other, after which waiting bulk has one.
pub(crate) const QUERY_TURNS: u32 = 4;

/// What waits, in order of arrival, in each lane.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    queries: VecDeque<T>,
    bulk: VecDeque<T>,
    /// Turns that queries had since bulk last had one or did not wait.
    query_turns: u32,
}

impl<T> Lanes<T> {
    pub(crate) fn new() -> Self {
        Self {
            queries: VecDeque::new(),
            bulk: VecDeque::new(),
            query_turns: 0,
        }
    }

    pub(crate) fn lane(&self, lane: Lane) -> &VecDeque<T> {
        match lane {
            Lane::Query => &self.queries,
            Lane::Bulk => &self.bulk,
        }
    }

    pub(crate) fn lane_mut(&mut self, lane: Lane) -> &mut VecDeque<T> {
        match lane {
            Lane::Query => &mut self.queries,
            Lane::Bulk => &mut self.bulk,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queries.is_empty() && self.bulk.is_empty()
    }

    /// Gives the turn to a lane in which something waits: queries, but bulk after
    /// [`QUERY_TURNS`] of theirs.
    pub(crate) fn turn(&mut self) -> Option<Lane> {
        match (self.queries.is_empty(), self.bulk.is_empty()) {
            (true, true) => None,
            (false, true) => {
                self.query_turns = 0;
                Some(Lane::Query)
            }
            (false, false) if self.query_turns < QUERY_TURNS => {
                self.query_turns += 1;
                Some(Lane::Query)
            }
            (_, false) => {
                self.query_turns = 0;
                Some(Lane::Bulk)
            }
        }
    }
}
