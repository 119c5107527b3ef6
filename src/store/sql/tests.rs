use std::collections::BTreeSet;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use super::pieces::{
    BAN_COLUMNS, EVENT_COLUMNS, FORM_COLUMNS, KEY_COLUMNS, LIKENESS_COLUMNS, MATCH_COLUMNS,
    RENEWAL_COLUMNS, SPOT_COLUMNS, TARGET_COLUMNS,
};
use super::{SQLITE, Statements};
use crate::store::rows::{
    Entering, EventRow, FormRow, KeyRow, LikenessRow, MatchRow, NewBanRow, NewTargetRow,
    RenewalRow, SpotRow,
};
use crate::store::{Store, sqlite};

#[test]
fn the_columns_of_a_statement_are_the_fields_of_its_rows() {
    fn names(columns: &str) -> Vec<&str> {
        let names = columns.split(", ").filter_map(|one| one.split(' ').next());
        names.collect()
    }
    assert_eq!(names(BAN_COLUMNS), NewBanRow::FIELDS);
    assert_eq!(names(TARGET_COLUMNS), NewTargetRow::FIELDS);
    assert_eq!(names(KEY_COLUMNS), KeyRow::FIELDS);
    assert_eq!(names(RENEWAL_COLUMNS), RenewalRow::FIELDS);
    assert_eq!(names(EVENT_COLUMNS), EventRow::FIELDS);
    assert_eq!(names(MATCH_COLUMNS), MatchRow::FIELDS);
    assert_eq!(names(FORM_COLUMNS), FormRow::FIELDS);
    assert_eq!(names(SPOT_COLUMNS), SpotRow::FIELDS);
    assert_eq!(names(LIKENESS_COLUMNS), LikenessRow::FIELDS);
}

/// Tables that may be very long, by their names and by those that statements give them.
const LONG: [&str; 15] = [
    "b",
    "ban_events",
    "ban_keys",
    "ban_matches",
    "ban_targets",
    "bans",
    "e",
    "exception_keys",
    "exceptions",
    "feed",
    "i",
    "k",
    "o",
    "requests",
    "x",
];
/// Statements that look at all that a tenant has of something, or at all there is.
const LOOKS_AT_ALL: [(&str, &str); 12] = [
    (
        "add_tenant",
        "for one that is left of an older tenant of this id",
    ),
    ("any_bans", "a deleted tenant's, some at a time"),
    ("count_exceptions", "there are at most so many"),
    ("exceptions_in_time", "there are at most so many"),
    ("forget_answers", "whoever erases somebody can wait"),
    ("head", "for the last one"),
    ("inside", "what was found, so many at the most"),
    ("list_holds_bans", "one that was found"),
    ("load_exceptions", "a load wants all of them"),
    ("purge_other_events", "a deleted tenant's, some at a time"),
    ("purge_requests", "a deleted tenant's, some at a time"),
    ("sizes", "once, at the start"),
];

#[tokio::test]
async fn sqlite_finds_by_an_index_what_a_statement_is_about() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite::open(folder.path()).await.unwrap();
    store.migrate().await.unwrap();
    let url = format!("sqlite://{}/bancheck.db", folder.path().display());
    let mut raw = AnyConnection::connect(&url).await.unwrap();
    let mut looks_at_all = BTreeSet::new();
    for (name, text) in Statements::of(&SQLITE).named() {
        let plan = format!("EXPLAIN QUERY PLAN {}", text.as_str());
        let plan = sqlx::query(AssertSqlSafe(plan)).fetch_all(&mut raw).await;
        for step in plan.unwrap() {
            let step: String = step.try_get("detail").unwrap();
            let mut words = step.split(' ');
            let (kind, table) = (words.next().unwrap(), words.next().unwrap_or_default());
            let long = LONG.contains(&table) || table == "t" && step.contains("PRIMARY KEY");
            if long && (kind == "SCAN" || step.ends_with("(tenant=?)")) {
                looks_at_all.insert(name);
            }
        }
    }
    assert_eq!(looks_at_all, LOOKS_AT_ALL.map(|(name, _)| name).into());
}
