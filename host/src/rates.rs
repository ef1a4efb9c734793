//! How much one user may ask of this host: appends and creates by time, open streams by count. Time is an argument.
//!
//! Law: **a user who stays below a rate is never refused, one above it gets exactly the rate.** Whoever has asked for
//! nothing in a while takes no memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Users that are known at a time. Only those count whose last appends are not made up for by time, or who have something open.
const USERS_MAX: usize = 100_000;
/// How often a full table is looked through for users that can be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);
/// Seconds of appends that may come at once.
const APPENDS_BURST: u32 = 5;

/// What one user may do.
#[derive(Clone, Copy, Debug)]
pub struct RatesConfig {
    /// Appends in a second; five times as many at once.
    pub appends_per_s_max: u32,
    /// Generations in a minute; as many at once.
    pub creates_per_min_max: u32,
    /// Open live streams, signals and append bodies.
    pub connections_max: u32,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Append requests.
    Appends,
    /// New generations.
    Creates,
    /// Open live streams, signals and append bodies.
    Connections,
    /// Users at a time, on this host: not the fault of whoever asks.
    Users,
}

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// What was too much.
    pub limit: Limit,
    /// How much of it may be.
    pub max: u64,
    /// When it may be tried again.
    pub retry_after: Duration,
}

/// The users of this host.
#[derive(Debug)]
pub struct Rates {
    appends: Rate,
    creates: Rate,
    connections_max: u32,
    users_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    users: HashMap<Arc<str>, User>,
    /// When it was last looked through.
    looked: Option<Instant>,
}

/// One place of a user's open connections. Dropped: free again.
#[derive(Debug)]
pub struct Permit {
    rates: Arc<Rates>,
    user: Arc<str>,
}

impl Rates {
    /// Nobody has asked for anything.
    pub fn new(config: RatesConfig) -> Self {
        let (appends, creates) = (config.appends_per_s_max, config.creates_per_min_max);
        Rates {
            appends: Rate::new(appends, Duration::from_secs(1), APPENDS_BURST),
            creates: Rate::new(creates, Duration::from_secs(60), 1),
            connections_max: config.connections_max,
            users_max: USERS_MAX,
            table: Mutex::default(),
        }
    }

    /// Counts one append. Errors: too many.
    pub fn append(&self, user: &str, now: Instant) -> Result<(), Exceeded> {
        self.with(user, now, |known| {
            self.appends.take(&mut known.appends, now).map_err(|retry_after| Exceeded {
                limit: Limit::Appends,
                max: self.appends.count.into(),
                retry_after,
            })
        })
    }

    /// Counts one new generation. Errors: too many.
    pub fn create(&self, user: &str, now: Instant) -> Result<(), Exceeded> {
        self.with(user, now, |known| {
            self.creates.take(&mut known.creates, now).map_err(|retry_after| Exceeded {
                limit: Limit::Creates,
                max: self.creates.count.into(),
                retry_after,
            })
        })
    }

    /// A place for something that stays open. Errors: they are all taken.
    pub fn open(self: &Arc<Self>, user: &str, now: Instant) -> Result<Permit, Exceeded> {
        self.with(user, now, |known| {
            if known.open >= self.connections_max {
                let (max, retry_after) = (self.connections_max.into(), Duration::from_secs(1));
                return Err(Exceeded { limit: Limit::Connections, max, retry_after });
            }
            known.open += 1;
            Ok(())
        })?;
        Ok(Permit { rates: self.clone(), user: user.into() })
    }

    /// Users that are known.
    pub fn users(&self) -> usize {
        self.table().users.len()
    }

    fn with<T>(
        &self,
        user: &str,
        now: Instant,
        count: impl FnOnce(&mut User) -> Result<T, Exceeded>,
    ) -> Result<T, Exceeded> {
        let mut table = self.table();
        if let Some(known) = table.users.get_mut(user) {
            return count(known);
        }
        if table.users.len() >= self.users_max {
            table.forget_idle(now);
        }
        if table.users.len() >= self.users_max {
            return Err(Exceeded { limit: Limit::Users, max: self.users_max as u64, retry_after: FORGET_EVERY });
        }
        count(table.users.entry(user.into()).or_insert(User { appends: now, creates: now, open: 0 }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(known) = self.rates.table().users.get_mut(&self.user) {
            known.open = known.open.saturating_sub(1);
        }
    }
}

impl Table {
    /// Drops whoever is as if never seen. A look through all costs something, so it is done now and then only.
    fn forget_idle(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < FORGET_EVERY) {
            return;
        }
        self.looked = Some(now);
        self.users.retain(|_, user| user.open > 0 || user.appends > now || user.creates > now);
    }
}

/// What one user asked for. Each time is when all of it will be made up for: before now means nothing is owed.
#[derive(Debug)]
struct User {
    appends: Instant,
    creates: Instant,
    open: u32,
}

/// A token bucket as a time: each take costs `interval`, and the debt may be `burst` long.
#[derive(Debug)]
struct Rate {
    count: u32,
    interval: Duration,
    burst: Duration,
}

impl Rate {
    fn new(count: u32, period: Duration, burst_periods: u32) -> Self {
        Rate { count, interval: period / count.max(1), burst: period * burst_periods }
    }

    /// Errors: how long until there is room for one more.
    fn take(&self, owed_until: &mut Instant, now: Instant) -> Result<(), Duration> {
        let after = (*owed_until).max(now) + self.interval;
        let debt = after.saturating_duration_since(now);
        if debt > self.burst {
            return Err(debt - self.burst);
        }
        *owed_until = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(appends_per_s_max: u32, creates_per_min_max: u32, connections_max: u32) -> Arc<Rates> {
        Arc::new(Rates::new(RatesConfig { appends_per_s_max, creates_per_min_max, connections_max }))
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn as_many_as_may_be_come_at_once_and_then_exactly_the_rate() {
        let (rates, now) = (rates(10, 6, 1), Instant::now());
        for n in 0..50 {
            assert!(rates.append("u", now).is_ok(), "{n}");
        }
        let exceeded = rates.append("u", now).expect_err("five seconds of appends were taken at once");
        assert_eq!((exceeded.limit, exceeded.max, exceeded.retry_after), (Limit::Appends, 10, 100 * MS));
        let taken = (0..1000).filter(|n| rates.append("u", now + *n * 10 * MS).is_ok()).count();
        assert_eq!(taken, 99, "ten a second for just under ten seconds");
        for n in 0..6 {
            assert!(rates.create("u", now).is_ok(), "{n}");
        }
        let exceeded = rates.create("u", now).expect_err("six a minute");
        assert_eq!((exceeded.limit, exceeded.retry_after), (Limit::Creates, Duration::from_secs(10)));
    }

    #[test]
    fn whoever_stays_below_the_rate_is_never_refused() {
        let (rates, now) = (rates(1000, 60, 1), Instant::now());
        for n in 0..100_000 {
            assert!(rates.append("u", now + n * MS).is_ok(), "{n}");
        }
        for n in 0..1000 {
            assert!(rates.create("u", now + n * 1000 * MS).is_ok(), "{n}");
        }
    }

    #[test]
    fn one_user_takes_nothing_from_another() {
        let (rates, now) = (rates(1, 1, 1), Instant::now());
        assert!(rates.create("u", now).is_ok() && rates.create("u", now).is_err());
        assert!(rates.create("v", now).is_ok());
    }

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let (rates, now) = (rates(1, 1, 2), Instant::now());
        let first = rates.open("u", now).expect("the first of two");
        let _second = rates.open("u", now).expect("the second of two");
        let exceeded = rates.open("u", now).expect_err("both are taken");
        assert_eq!((exceeded.limit, exceeded.max), (Limit::Connections, 2));
        drop(first);
        assert!(rates.open("u", now).is_ok());
    }

    #[test]
    fn a_full_table_forgets_who_is_idle_and_nobody_else() {
        let mut full = Rates::new(RatesConfig { appends_per_s_max: 1, creates_per_min_max: 1, connections_max: 1 });
        full.users_max = 3;
        let (rates, now) = (Arc::new(full), Instant::now());
        rates.append("busy", now).expect("there is room");
        rates.create("slow", now).expect("there is room");
        let held = rates.open("open", now).expect("there is room");
        let exceeded = rates.append("new", now).expect_err("all three owe something");
        assert_eq!((exceeded.limit, exceeded.max), (Limit::Users, 3));
        rates.append("new", now + 2000 * MS).expect("the append is made up for");
        assert_eq!(rates.users(), 3);
        drop(held);
        rates.append("newer", now + 4000 * MS).expect("nothing is open any more");
        rates.create("slow", now + 4000 * MS).expect_err("it was not forgotten");
    }
}
