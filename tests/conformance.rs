//! The store's promise, clause by clause, and the same for both stores.
//!
//! A test is one function over a [`house::House`]; [`on_both_stores`] makes `sqlite::name` and
//! `postgres::name` of it. The name begins with the clause it is about; the few without one are
//! about what the trait's own words promise.

/// Makes a test of each store out of each of these functions.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(crate::house::House::new(crate::database::Kind::Sqlite).await)
                        .await;
                }
            )+
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(crate::house::House::new(crate::database::Kind::Postgres).await)
                        .await;
                }
            )+
        }
    };
}

#[path = "conformance/alike.rs"]
mod alike;
#[path = "conformance/bell.rs"]
mod bell;
#[path = "conformance/bulk.rs"]
mod bulk;
#[path = "conformance/concerning.rs"]
mod concerning;
#[path = "conformance/counts.rs"]
mod counts;
#[path = "stage/database.rs"]
mod database;
#[path = "conformance/desk.rs"]
mod desk;
#[path = "conformance/ends.rs"]
mod ends;
#[path = "conformance/events.rs"]
mod events;
#[path = "conformance/exceptions.rs"]
mod exceptions;
#[path = "conformance/faults.rs"]
mod faults;
#[path = "conformance/feed.rs"]
mod feed;
#[path = "conformance/filters.rs"]
mod filters;
#[path = "conformance/gone.rs"]
mod gone;
#[path = "conformance/house.rs"]
mod house;
#[path = "conformance/keeping.rs"]
mod keeping;
#[path = "conformance/lineage.rs"]
mod lineage;
#[path = "conformance/lists.rs"]
mod lists;
#[path = "conformance/pages.rs"]
mod pages;
#[path = "conformance/payload.rs"]
mod payload;
#[path = "conformance/plans.rs"]
mod plans;
#[path = "conformance/proxy.rs"]
mod proxy;
#[path = "conformance/pruning.rs"]
mod pruning;
#[path = "conformance/queues.rs"]
mod queues;
#[path = "conformance/replica.rs"]
mod replica;
#[path = "conformance/requests.rs"]
mod requests;
#[path = "conformance/rights.rs"]
mod rights;
#[path = "conformance/snapshot.rs"]
mod snapshot;
#[path = "conformance/standby.rs"]
#[expect(dead_code, reason = "where a server listens is for a pooler before it")]
mod standby;
#[path = "conformance/tenants.rs"]
mod tenants;
#[path = "conformance/time.rs"]
mod time;
#[path = "conformance/together.rs"]
mod together;
#[path = "conformance/values.rs"]
mod values;
