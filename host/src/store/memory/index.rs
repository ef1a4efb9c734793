//! What is found without walking all streams: lists, counts and deadlines. Derived from the rows, changed in the
//! same step as they are.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use crate::types::{Job, Status, StreamId};

/// Where a job stands in every list.
pub(super) type Place = (u64, StreamId);

/// One list of jobs, whole and by status, so that no filter walks.
#[derive(Default)]
struct Shelf {
    all: BTreeSet<Place>,
    by_status: [BTreeSet<Place>; 5],
}

impl Shelf {
    fn insert(&mut self, place: &Place, status: Status) {
        self.all.insert(place.clone());
        self.by_status[rank(status)].insert(place.clone());
    }

    fn remove(&mut self, place: &Place, status: Status) {
        self.all.remove(place);
        self.by_status[rank(status)].remove(place);
    }

    fn of(&self, status: Option<Status>) -> &BTreeSet<Place> {
        status.map_or(&self.all, |status| &self.by_status[rank(status)])
    }
}

/// All lists, and one deadline for each stream.
#[derive(Default)]
pub(super) struct Index {
    everyone: Shelf,
    users: HashMap<String, Shelf>,
    deadlines: BTreeSet<(u64, StreamId)>,
}

impl Index {
    /// Lists a job.
    pub(super) fn insert(&mut self, stream: &StreamId, job: &Job) {
        let place = (job.created_ms, stream.clone());
        self.everyone.insert(&place, job.status);
        self.users.entry(job.user_id.clone()).or_default().insert(&place, job.status);
    }

    /// Takes a job off the lists, where it stands with the status it has now.
    pub(super) fn remove(&mut self, stream: &StreamId, job: &Job) {
        let place = (job.created_ms, stream.clone());
        self.everyone.remove(&place, job.status);
        if let Some(shelf) = self.users.get_mut(&job.user_id) {
            shelf.remove(&place, job.status);
            if shelf.all.is_empty() {
                self.users.remove(&job.user_id);
            }
        }
    }

    /// Moves a job, which has its new status already, from where it stood with `before`.
    pub(super) fn change_status(&mut self, stream: &StreamId, job: &Job, before: Status) {
        let place = (job.created_ms, stream.clone());
        for shelf in [Some(&mut self.everyone), self.users.get_mut(&job.user_id)].into_iter().flatten() {
            shelf.by_status[rank(before)].remove(&place);
            shelf.by_status[rank(job.status)].insert(place.clone());
        }
    }

    /// Moves the deadline of a stream; none: there is, or will be, no such deadline.
    pub(super) fn move_deadline(&mut self, stream: &StreamId, from: Option<u64>, to: Option<u64>) {
        if let Some(from) = from {
            self.deadlines.remove(&(from, stream.clone()));
        }
        if let Some(to) = to {
            self.deadlines.insert((to, stream.clone()));
        }
    }

    /// Takes out the deadlines up to `now_ms`, earliest first, at most `limit`.
    pub(super) fn take_due(&mut self, now_ms: u64, limit: usize) -> Vec<(u64, StreamId)> {
        let due = self.deadlines.iter().take_while(|(deadline_ms, _)| *deadline_ms <= now_ms).take(limit);
        let due: Vec<_> = due.cloned().collect();
        for deadline in &due {
            self.deadlines.remove(deadline);
        }
        due
    }

    /// The places after `after`, newest first.
    pub(super) fn page(
        &self,
        user_id: Option<&str>,
        status: Option<Status>,
        after: Option<&Place>,
        limit: usize,
    ) -> Vec<Place> {
        let shelf = match user_id {
            None => Some(&self.everyone),
            Some(user_id) => self.users.get(user_id),
        };
        let older = (Bound::Unbounded, after.map_or(Bound::Unbounded, Bound::Excluded));
        let places = shelf.into_iter().flat_map(|shelf| shelf.of(status).range::<Place, _>(older).rev());
        places.take(limit).cloned().collect()
    }

    /// Number of jobs in each status.
    pub(super) fn counts(&self) -> [u64; 5] {
        self.everyone.by_status.each_ref().map(|places| places.len() as u64)
    }

    /// The same of one user's jobs.
    pub(super) fn counts_of(&self, user_id: &str) -> [u64; 5] {
        let counts = |shelf: &Shelf| shelf.by_status.each_ref().map(|places| places.len() as u64);
        self.users.get(user_id).map_or([0; 5], counts)
    }

    /// Number of active jobs of a user.
    pub(super) fn active_of(&self, user_id: &str) -> u64 {
        let active = [Status::Running, Status::RequiresAction];
        let places = |shelf: &Shelf| active.map(|status| shelf.of(Some(status)).len() as u64).iter().sum();
        self.users.get(user_id).map_or(0, places)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.everyone.all.is_empty() && self.counts() == [0; 5] && self.users.is_empty() && self.deadlines.is_empty()
    }

    #[cfg(test)]
    pub(super) fn deadlines(&self) -> usize {
        self.deadlines.len()
    }
}

/// The place of a status in [`Status::ALL`].
fn rank(status: Status) -> usize {
    match status {
        Status::Running => 0,
        Status::RequiresAction => 1,
        Status::Complete => 2,
        Status::Error => 3,
        Status::Aborted => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_the_place_in_the_list_of_all() {
        assert_eq!(Status::ALL.map(rank), [0, 1, 2, 3, 4]);
    }
}
