//! The words in which the two databases differ.

use super::pieces::{
    BAN_COLUMNS, BAN_FILTER, BAN_RECORD, BANS_BY_COLUMN, BESIDE, DROPPED, END, ENFORCED,
    EVENT_COLUMNS, EXCEPTION_RECORDS, EXPORTED, FORM_COLUMNS, FOUND, KEY_COLUMNS, KEY_RECORD,
    KEYS_BY_COLUMN, LIKENESS_COLUMNS, MATCH_COLUMNS, RENEWAL_COLUMNS, SHOWN, SOONEST_OVER,
    SPOT_COLUMNS, TARGET_COLUMNS, UNDER, WHOLE_BAN, WHOLE_EXCEPTION, WHOLE_LIST, WHOLE_POLICY,
};

/// The kind of a column that comes in as hexadecimal digits.
const HEX: &str = "hex";

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
    /// Writes bytes down as hexadecimal digits.
    pub(super) hex: fn(bytes: &str) -> String,
    /// The same of many, one after another.
    pub(super) all: fn(bytes: &str) -> String,
    /// That rows are the tenant's whom a statement is about. Not by $1 itself on Postgres, which would know
    /// of a tenant that its statistics have not heard of that it has one row, and join accordingly.
    pub(super) owned: &'static str,
    /// Whether this server only follows another.
    pub(super) recovery: &'static str,
    /// Whether this is the timeline that the epoch was agreed on; a promoted server begins another.
    pub(super) agreed: &'static str,
    /// The server's clock, in microseconds.
    pub(super) clock: &'static str,
    /// The newest row of the feed, as a table of its `rev` and `nonce`, whosever it is.
    pub(super) newest: &'static str,
    /// That something is one of what a sub-select finds. Postgres is to find all of that first: it would
    /// else take a table that it thinks small apart row by row, and where row security holds it asks the
    /// policy before any function that may tell of what it is given, such as `unhex`, instead of an index.
    pub(super) among: fn(found: &str) -> String,
    /// The strings of a JSON array, as a table `r(value)`.
    pub(super) texts: fn(parameter: &str) -> String,
    /// The rows of a JSON parameter (`rows::entering`), as a table `r` of these columns.
    pub(super) rows: fn(parameter: &str, columns: &str) -> String,
    /// Whether what those rows have of their own is in an array for each, as SQLite takes it in soonest, or
    /// in one for each column, as Postgres does.
    pub(super) by_place: bool,
}

impl Dialect {
    /// A statement in these words.
    pub(super) fn say(&self, text: &str) -> String {
        let mut said = text
            .replace("{under}", &(self.among)(UNDER))
            .replace("{whole_ban}", WHOLE_BAN)
            .replace("{whole_list}", WHOLE_LIST)
            .replace("{whole_policy}", WHOLE_POLICY)
            .replace("{whole_exception}", WHOLE_EXCEPTION)
            .replace("{exception_records}", EXCEPTION_RECORDS)
            .replace("{enforced:r.value}", &ENFORCED.replace("{of}", "r.value"))
            .replace("{enforced:q.queue}", &ENFORCED.replace("{of}", "q.queue"))
            .replace("{ban_record}", BAN_RECORD)
            .replace("{key_record}", KEY_RECORD)
            .replace("{bans_by_column}", BANS_BY_COLUMN)
            .replace("{keys_by_column}", KEYS_BY_COLUMN)
            .replace("{exported}", EXPORTED)
            .replace("{found}", FOUND)
            .replace("{soonest_over}", SOONEST_OVER)
            .replace("{filter}", BAN_FILTER)
            .replace("{shown}", SHOWN)
            .replace("{dropped}", DROPPED)
            .replace("{end}", END)
            .replace("{beside}", BESIDE)
            .replace("tenant = $1", self.owned)
            .replace("{lock}", self.lock)
            .replace("{turn}", self.turn)
            .replace("{gather}", self.gather)
            .replace("{object}", self.object)
            .replace("{array}", self.array)
            .replace("{recovery}", self.recovery)
            .replace("{agreed}", self.agreed)
            .replace("{clock}", self.clock)
            .replace("{newest}", self.newest)
            .replace("{bans:$2}", &(self.rows)("$2", BAN_COLUMNS))
            .replace("{targets:$2}", &(self.rows)("$2", TARGET_COLUMNS))
            .replace("{keys:$2}", &(self.rows)("$2", KEY_COLUMNS))
            .replace("{matches:$1}", &(self.rows)("$1", MATCH_COLUMNS))
            .replace("{renewals:$2}", &(self.rows)("$2", RENEWAL_COLUMNS))
            .replace("{events:$2}", &(self.rows)("$2", EVENT_COLUMNS))
            .replace("{forms:$3}", &(self.rows)("$3", FORM_COLUMNS))
            .replace("{spots:$2}", &(self.rows)("$2", SPOT_COLUMNS))
            .replace("{likenesses:$2}", &(self.rows)("$2", LIKENESS_COLUMNS));
        for parameter in ["$2", "$3", "$5", "$9"] {
            said = self.say_texts(&said, parameter);
        }
        for bytes in ["p.ban_id", "p.ban_id || p.match_key", "p.parent"] {
            said = said
                .replace(&format!("{{hex:{bytes}}}"), &(self.hex)(bytes))
                .replace(&format!("{{all:{bytes}}}"), &(self.all)(bytes));
        }
        debug_assert!(!said.contains('{'), "a word was left unsaid: {said}");
        said
    }

    /// Says what a JSON array of this parameter's is taken for: `{texts:$2}` a table of strings,
    /// `IN ({hexes:$2})` and `IN ({numbers:$2})` that something is one of what they stand for.
    fn say_texts(&self, said: &str, parameter: &str) -> String {
        let texts = (self.texts)(parameter);
        let among = |what| (self.among)(&format!("SELECT {what} FROM {texts}"));
        said.replace(
            &format!("IN ({{hexes:{parameter}}})"),
            &among("unhex(r.value)"),
        )
        .replace(
            &format!("IN ({{numbers:{parameter}}})"),
            &among("CAST(r.value AS bigint)"),
        )
        .replace(&format!("{{texts:{parameter}}}"), &texts)
    }
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
    hex: |bytes| format!("encode({bytes}, 'hex')"),
    all: |bytes| format!("encode(string_agg({bytes}, ''), 'hex')"),
    owned: "tenant = (SELECT $1)",
    recovery: "(pg_is_in_recovery())::int",
    agreed: "(CASE WHEN pg_is_in_recovery() THEN 1 ELSE
                  coalesce((SELECT (right(value, 8) = left(pg_walfile_name(pg_current_wal_lsn()), 8))::int
                            FROM meta WHERE name = 'server'), 1) END)",
    clock: "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    newest: "feed_newest()",
    among: |found| format!("= ANY (ARRAY({found}))"),
    texts: |parameter| format!("json_array_elements_text(CAST({parameter} AS json)) AS r(value)"),
    rows: |parameter, columns| {
        let columns = columns.split(", ").filter_map(|one| one.split_once(' '));
        let (mut arrays, mut names, mut common, mut values) = (vec![], vec![], vec![], vec![]);
        for (name, kind) in columns {
            arrays.push(format!("jsonb_array_elements_text(p.rows -> 'each' -> '{name}')"));
            names.push(name);
            common.push(format!("{name} {}", if kind == HEX { "text" } else { kind }));
            values.push(match kind {
                HEX => format!("unhex(coalesce(e.{name}, a.{name})) AS {name}"),
                _ => format!("coalesce(CAST(e.{name} AS {kind}), a.{name}) AS {name}"),
            });
        }
        format!(
            "(SELECT {} FROM (SELECT CAST({parameter} AS jsonb) AS rows OFFSET 0) p,
                ROWS FROM ({}) AS e({}), jsonb_to_record(p.rows -> 'all') AS a({}) OFFSET 0) AS r",
            values.join(", "),
            arrays.join(", "),
            names.join(", "),
            common.join(", "),
        )
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
    hex: |bytes| format!("hex({bytes})"),
    all: |bytes| format!("group_concat(hex({bytes}), '')"),
    owned: "tenant = $1",
    recovery: "0",
    agreed: "1",
    clock: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    newest: "(SELECT rev, nonce FROM feed ORDER BY rev DESC LIMIT 1)",
    among: |found| format!("IN ({found})"),
    texts: |parameter| format!("json_each({parameter}) AS r"),
    rows: |parameter, columns| {
        let columns = columns.split(", ").filter_map(|one| one.split_once(' '));
        let (mut once, mut values) = (vec![], vec![]);
        for (name, kind) in columns {
            let in_bytes = |value: String| match kind {
                HEX => format!("unhex({value})"),
                _ => value,
            };
            let common = in_bytes(format!("{parameter} ->> '$.all.{name}'"));
            once.push(format!(
                "{parameter} ->> '$.at.{name}' AS {name}_at, {common} AS {name}_all"
            ));
            let own = in_bytes(format!("value ->> {name}_at"));
            values.push(format!(
                "CASE WHEN {name}_at IS NULL THEN {name}_all ELSE {own} END AS {name}"
            ));
        }
        // With limits neither is made part of what is around it, to be done for each row.
        format!(
            "(SELECT {} FROM (SELECT {} LIMIT 1) CROSS JOIN jsonb_each({parameter}, '$.each') LIMIT -1) AS r",
            values.join(", "),
            once.join(", "),
        )
    },
    by_place: true,
};
