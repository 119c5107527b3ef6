//! The service as its callers meet it: a real server, a real client, both stores.
//!
//! Tests that carry a rule's number (`m8_…`, `d14_…`) prove that rule.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests: a panic is how they say no"
)]

/// Makes two tests of each: one on SQLite, one on Postgres.
macro_rules! on_both_stores {
    (run by $run:path: $($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $test() {
                $run(crate::database::Kind::Sqlite, super::$test);
            })+
        }
        mod postgres {
            $(#[test]
            fn $test() {
                $run(crate::database::Kind::Postgres, super::$test);
            })+
        }
    };
    ($($test:ident),+ $(,)?) => {
        on_both_stores!(run by crate::server::run: $($test),+);
    };
}

#[path = "it/access.rs"]
mod access;
#[path = "it/aging.rs"]
mod aging;
#[path = "it/agreement.rs"]
mod agreement;
#[path = "it/attacks.rs"]
mod attacks;
#[path = "it/bans.rs"]
mod bans;
#[path = "it/batch.rs"]
mod batch;
#[path = "it/button.rs"]
mod button;
#[path = "it/cascade.rs"]
mod cascade;
#[path = "it/clients.rs"]
mod clients;
#[path = "it/contract.rs"]
mod contract;
#[path = "it/counts.rs"]
mod counts;
#[path = "stage/database.rs"]
#[expect(
    dead_code,
    reason = "the rest is for suites that open a store themselves"
)]
mod database;
#[path = "it/disclosing.rs"]
mod disclosing;
#[path = "it/doctor.rs"]
mod doctor;
#[path = "it/drain.rs"]
mod drain;
#[path = "it/entries.rs"]
mod entries;
#[path = "it/erasing.rs"]
mod erasing;
#[path = "it/exceptions.rs"]
mod exceptions;
#[path = "it/explain.rs"]
mod explain;
#[path = "it/exports.rs"]
mod exports;
#[path = "it/fields.rs"]
mod fields;
#[path = "it/floods.rs"]
mod floods;
#[path = "it/framing.rs"]
mod framing;
#[path = "it/freshness.rs"]
mod freshness;
#[path = "it/gone.rs"]
mod gone;
#[path = "it/guarded.rs"]
mod guarded;
#[path = "it/history.rs"]
mod history;
#[path = "it/identities.rs"]
mod identities;
#[path = "it/imports.rs"]
mod imports;
#[path = "it/interaction.rs"]
mod interaction;
#[path = "it/interrupted.rs"]
mod interrupted;
#[path = "it/issuer.rs"]
mod issuer;
#[path = "it/keyholders.rs"]
mod keyholders;
#[path = "it/keyring.rs"]
mod keyring;
#[path = "it/ladder.rs"]
mod ladder;
#[path = "it/lasting.rs"]
mod lasting;
#[path = "it/links.rs"]
mod links;
#[path = "it/listing.rs"]
mod listing;
#[path = "it/lists.rs"]
mod lists;
#[path = "it/load.rs"]
mod load;
#[path = "it/normalize.rs"]
mod normalize;
#[path = "it/overlaps.rs"]
mod overlaps;
#[path = "it/overload.rs"]
mod overload;
#[path = "it/passing.rs"]
mod passing;
#[path = "it/previews.rs"]
mod previews;
#[path = "it/process.rs"]
mod process;
#[path = "it/profiles.rs"]
mod profiles;
#[path = "it/protections.rs"]
mod protections;
#[path = "it/queues.rs"]
mod queues;
#[path = "it/quiet.rs"]
mod quiet;
#[path = "it/ranges.rs"]
mod ranges;
#[path = "it/refusals.rs"]
mod refusals;
#[path = "it/refused.rs"]
mod refused;
#[path = "it/requests.rs"]
mod requests;
#[path = "it/restart.rs"]
mod restart;
#[path = "it/restored.rs"]
mod restored;
#[path = "it/rights.rs"]
mod rights;
#[path = "it/roads.rs"]
mod roads;
#[path = "it/rolling.rs"]
mod rolling;
#[path = "../examples/router.rs"]
#[expect(dead_code, reason = "as an example it has a beginning of its own")]
mod router;
#[path = "it/scopes.rs"]
mod scopes;
#[path = "stage/server.rs"]
mod server;
#[path = "it/spellings.rs"]
mod spellings;
#[path = "it/standstill.rs"]
mod standstill;
#[path = "it/streams.rs"]
mod streams;
#[path = "it/terms.rs"]
mod terms;
#[path = "it/times.rs"]
mod times;
#[path = "it/tls.rs"]
mod tls;
#[path = "it/tokens.rs"]
mod tokens;
#[path = "it/traces.rs"]
mod traces;
#[path = "it/unread_log.rs"]
mod unread_log;
#[path = "it/versions.rs"]
mod versions;
#[path = "it/walk.rs"]
mod walk;
#[path = "it/watching.rs"]
mod watching;
