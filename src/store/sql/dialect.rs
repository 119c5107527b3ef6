//! The words in which the two databases differ.

/// What a database says for each of these.
#[derive(Debug)]
pub(in crate::store) struct Dialect {
    /// Opens a transaction that writes.
    pub(in crate::store) begin_write: &'static str,
    /// Opens a transaction that reads one snapshot.
    pub(in crate::store) begin_read: &'static str,
    /// Opens a transaction that does nothing but be there.
    pub(in crate::store) begin_turn: &'static str,
    /// Whether the keeper's turn is ours until the transaction ends.
    pub(super) turn: &'static str,
    /// Locks the rows of a SELECT till the end of the transaction.
    pub(super) lock: &'static str,
    /// Gathers JSON values into an array.
    pub(super) gather: &'static str,
    /// Makes a JSON object of names and values.
    pub(super) object: &'static str,
    /// Makes a JSON array of values.
    pub(super) array: &'static str,
    /// Whether this server only follows another.
    pub(super) recovery: &'static str,
    /// Whether this is the timeline that the epoch was agreed on; a promoted server begins another.
    pub(super) agreed: &'static str,
    /// The server's clock, in microseconds.
    pub(super) clock: &'static str,
    /// The strings of a JSON array, as a table `r(value)`.
    pub(super) texts: fn(parameter: &str) -> String,
    /// The rows of a JSON array, as a table `r` of these columns.
    pub(super) rows: fn(parameter: &str, columns: &str) -> String,
    /// Whether each of those rows is an array of values in the order of the columns, which SQLite
    /// takes in a third quicker, and not an object, which Postgres takes apart in one go.
    pub(super) by_place: bool,
}

pub(in crate::store) static POSTGRES: Dialect = Dialect {
    begin_write: concat!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; ",
        "SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '1500ms'; ",
        "SET LOCAL ROLE bancheck_app"
    ),
    begin_read: concat!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ",
        "SET LOCAL idle_in_transaction_session_timeout = '10s'; ",
        "SET LOCAL ROLE bancheck_reader"
    ),
    begin_turn: concat!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; ",
        "SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL ROLE bancheck_reader"
    ),
    // A lock of the transaction's own: it goes with whoever held it, and a pooler knows of it.
    turn: "(pg_try_advisory_xact_lock(7166011403264135527))::int",
    lock: "FOR NO KEY UPDATE",
    gather: "json_agg",
    object: "json_build_object",
    array: "json_build_array",
    recovery: "(pg_is_in_recovery())::int",
    agreed: "(CASE WHEN pg_is_in_recovery() THEN 1 ELSE
                  coalesce((SELECT (right(value, 8) = left(pg_walfile_name(pg_current_wal_lsn()), 8))::int
                            FROM meta WHERE name = 'server'), 1) END)",
    clock: "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    texts: |parameter| format!("json_array_elements_text(CAST({parameter} AS json)) AS r(value)"),
    rows: |parameter, columns| {
        format!("json_to_recordset(CAST({parameter} AS json)) AS r({columns})")
    },
    by_place: false,
};

pub(in crate::store) static SQLITE: Dialect = Dialect {
    begin_write: "BEGIN IMMEDIATE",
    begin_read: "BEGIN",
    begin_turn: "BEGIN",
    // The file is one process's own.
    turn: "1",
    lock: "",
    gather: "json_group_array",
    object: "json_object",
    array: "json_array",
    recovery: "0",
    agreed: "1",
    clock: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    texts: |parameter| format!("json_each({parameter}) AS r"),
    rows: |parameter, columns| {
        let names = columns
            .split(", ")
            .filter_map(|column| column.split(' ').next());
        let fields: Vec<_> = names
            .enumerate()
            .map(|(place, name)| format!("value ->> {place} AS {name}"))
            .collect();
        format!(
            "(SELECT {} FROM json_each({parameter})) AS r",
            fields.join(", ")
        )
    },
    by_place: true,
};
