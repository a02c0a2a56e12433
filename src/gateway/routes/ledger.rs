//! What apps used on hosts that are no more.
//!
//! A bill must not lose what an app used before it was removed, nor what its last
//! requests use that end after that. So a host's counts are kept here until
//! nobody can add to them, then their sum. An app that comes back goes on from
//! there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::AppId;
use crate::telemetry::usage::Usage;
use crate::upstream::app::Shared;

/// Apps that are gone and still told: about 15 MB. Beyond a tenth more, those that went first are
/// told one last time, in the log.
const REMEMBERED: usize = 100_000;
/// Removals after which the accounts are looked through, if nobody asks for them meanwhile.
const TIDY: u64 = 4096;

/// The accounts of hosts that are no more, by their app.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: BTreeMap<AppId, Account>,
    /// Removals so far.
    removals: u64,
}

#[derive(Debug, Default)]
struct Account {
    /// Of hosts that nobody can add to.
    closed: Usage,
    /// Hosts that may still have requests.
    open: Vec<Arc<Shared>>,
    /// Which removal was its last.
    removal: u64,
}

impl Ledger {
    /// A host of this app is no more; the table must not tell of it again. True if it is time to
    /// tidy up.
    pub(super) fn enter(&mut self, app: &AppId, host: &Arc<Shared>) -> bool {
        self.removals += 1;
        let account = self.accounts.entry(app.clone()).or_default();
        account.open.push(host.clone());
        account.removal = self.removals;
        self.removals.is_multiple_of(TIDY)
    }

    /// Closes what can be closed, and forgets what there is no room for; `is_routed` says whether
    /// an app is there again.
    pub(super) fn tidy(&mut self, is_routed: impl Fn(&AppId) -> bool) {
        self.accounts.retain(|_, account| {
            account.close();
            !account.open.is_empty() || account.closed != Usage::default()
        });
        if self.accounts.len() > REMEMBERED + REMEMBERED / 10 {
            self.forget(REMEMBERED, is_routed);
        }
    }

    /// Every app's sum so far.
    pub(super) fn sums(&self) -> BTreeMap<AppId, Usage> {
        self.accounts.iter().map(|(app, account)| (app.clone(), account.sum())).collect()
    }

    fn forget(&mut self, room: usize, is_routed: impl Fn(&AppId) -> bool) {
        let gone = |(app, account): &(&AppId, &Account)| account.open.is_empty() && !is_routed(app);
        let mut oldest: Vec<_> = self.accounts.iter().filter(gone).collect();
        oldest.sort_unstable_by_key(|(_, account)| account.removal);
        oldest.truncate(self.accounts.len().saturating_sub(room));
        let oldest: Vec<_> = oldest.into_iter().map(|(app, _)| app.clone()).collect();
        for app in oldest {
            let Some(Account { closed, .. }) = self.accounts.remove(&app) else { continue };
            tracing::warn!(
                %app,
                invocations = closed.invocations,
                milliseconds = closed.milliseconds,
                request_bytes = closed.bytes_in,
                response_bytes = closed.bytes_out,
                "the usage of an app that is gone is told no more: too many apps are gone"
            );
        }
    }
}

impl Account {
    /// Adds up the hosts that only this account knows: no request of theirs is left.
    fn close(&mut self) {
        for host in std::mem::take(&mut self.open) {
            match Arc::try_unwrap(host) {
                Ok(host) => self.closed += host.metrics.usage(),
                Err(host) => self.open.push(host),
            }
        }
    }

    fn sum(&self) -> Usage {
        let mut sum = self.closed;
        self.open.iter().for_each(|host| sum += host.metrics.usage());
        sum
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::telemetry::metrics::tests::finished;

    fn app(name: &str) -> AppId {
        format!("acme/{name}").parse().unwrap()
    }

    fn use_once(host: &Shared) {
        host.metrics.begin(0);
        host.metrics.end(0, &finished());
    }

    #[test]
    fn a_host_is_closed_when_nobody_can_add_to_it_and_not_before() {
        let mut ledger = Ledger::default();
        let host = Arc::new(Shared::default());
        use_once(&host);
        ledger.enter(&app("one"), &host);
        ledger.tidy(|_| false);
        use_once(&host);
        assert_eq!(ledger.sums()[&app("one")].invocations, 2);
        drop(host);
        ledger.tidy(|_| false);
        assert!(ledger.accounts[&app("one")].open.is_empty());
        let again = Arc::new(Shared::default());
        use_once(&again);
        ledger.enter(&app("one"), &again);
        assert_eq!(ledger.sums()[&app("one")].invocations, 3);
    }

    #[test]
    fn an_app_that_was_never_called_leaves_nothing() {
        let mut ledger = Ledger::default();
        ledger.enter(&app("one"), &Arc::default());
        ledger.tidy(|_| false);
        assert!(ledger.accounts.is_empty());
    }

    #[test]
    fn of_too_many_apps_those_that_went_first_are_forgotten_unless_they_are_back_or_busy() {
        let mut ledger = Ledger::default();
        let busy = Arc::new(Shared::default());
        for name in ["back", "busy", "first", "second", "third"] {
            let host = if name == "busy" { busy.clone() } else { Arc::default() };
            use_once(&host);
            ledger.enter(&app(name), &host);
        }
        ledger.tidy(|_| false);
        ledger.forget(3, |id| *id == app("back"));
        let left: Vec<_> = ledger.accounts.keys().map(|id| id.name.as_str()).collect();
        assert_eq!(left, ["back", "busy", "third"]);
    }
}
