//! What is said to a database, by the names that its rooms know it by.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::{dialect::Dialect, pieces::CONFIGURATION};

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)+) => {
        /// The statements of one store, in its own dialect.
        pub(in crate::store) struct Statements {
            $($(#[$doc])* pub(in crate::store) $name: SqlStr,)+
            /// What is deleted of a tenant that is no more, table by table.
            pub(in crate::store) purge_configuration: Vec<SqlStr>,
            /// How rows enter; see [`Dialect`].
            pub(in crate::store) by_place: bool,
        }

        impl Statements {
            pub(in crate::store) fn of(dialect: &Dialect) -> Self {
                let purge = |table| format!("DELETE FROM {table} WHERE tenant = $1");
                Self {
                    $($name: AssertSqlSafe(dialect.say($text)).into_sql_str(),)+
                    purge_configuration: CONFIGURATION
                        .iter()
                        .map(|table| AssertSqlSafe(purge(table)).into_sql_str())
                        .collect(),
                    by_place: dialect.by_place,
                }
            }

            /// Each of them, by its name.
            #[cfg(test)]
            pub(in crate::store) fn named(&self) -> Vec<(&'static str, &SqlStr)> {
                vec![$((stringify!($name), &self.$name)),+]
            }
        }
    };
}

statements! {
    turn = "SELECT {turn} AS ours";
    /// With it come the master keys that are in use.
    lock_tenant = "SELECT t.*, (SELECT m.value FROM meta m WHERE m.name = 'key-check') AS keys
        FROM tenants t WHERE t.tenant = $1 AND t.deleted = 0 {lock}";
    add_bans = "INSERT INTO bans (tenant, ban_id, list_id, generation, channels, match_kind, reason,
            reason_code, enforcement, origin, start_at, expire_at, ended, created_at, updated_at,
            created_by, deactivated_by, deactivate_reason, source_interaction, source_queue, parent,
            import_id, likeness, version)
        SELECT $1, r.ban_id, r.list_id, r.generation, r.channels, r.match_kind, r.reason,
            r.reason_code, r.enforcement, r.origin, r.start_at, r.expire_at, r.ended, r.created_at,
            r.updated_at, r.created_by, '', '', r.source_interaction, r.source_queue, r.parent,
            r.import_id, r.likeness, r.version
        FROM {bans:$2}";
    add_targets = "INSERT INTO ban_targets
            (tenant, ban_id, position, kind, input, canonical, issuer, canonicaliser_version,
            made_under)
        SELECT $1, r.ban_id, r.position, r.kind, r.input, r.canonical, r.issuer, r.version, $3
        FROM {targets:$2}";
    add_keys = "INSERT INTO ban_keys (tenant, ban_id, ordinal, position, space, width, match_key,
            kind, matches, key_text, place, canonicaliser_version)
        SELECT $1, r.ban_id, r.ordinal, r.position, r.space, r.width, r.match_key,
            r.kind, r.matches, r.key_text, r.place, r.version
        FROM {keys:$2}";
    /// Marks ended what is over.
    retire = "UPDATE bans SET ended = 1
        WHERE tenant = $1 AND ended = 0 AND ban_id IN ({hexes:$2})
        RETURNING ban_id, start_at, expire_at, started";
    /// When time does something next: begins a ban that was scheduled, ends one, ends an exception;
    /// and whether bans of dropped lists, or anything of deleted tenants, is left.
    agenda = "SELECT
            (SELECT min(start_at) FROM bans
             WHERE ended = 0 AND started = 0 AND start_at IS NOT NULL) AS begins,
            (SELECT min(expire_at) FROM bans WHERE ended = 0 AND expire_at IS NOT NULL) AS ends,
            (SELECT min(expire_at) FROM exceptions WHERE ended = 0 AND expire_at IS NOT NULL)
                AS spares_no_more,
            (SELECT count(*) FROM (SELECT 1 AS one FROM dropped_generations LIMIT 1) d) AS dropped,
            (SELECT count(*) FROM (SELECT 1 AS one FROM tenants WHERE deleted = 1 LIMIT 1) t)
                AS deleted";
    /// Whose bans have begun or ended, or exceptions ended, by $1 without its being noted.
    due = "SELECT t.tenant FROM tenants t
        WHERE t.deleted = 0 AND t.tenant IN (
            SELECT b.tenant FROM bans b WHERE b.ended = 0 AND b.expire_at <= $1
            UNION
            SELECT b.tenant FROM bans b WHERE b.ended = 0 AND b.started = 0 AND b.start_at <= $1
            UNION
            SELECT x.tenant FROM exceptions x WHERE x.ended = 0 AND x.expire_at <= $1)
        ORDER BY t.tenant LIMIT $2";
    /// Marks ended what is over by $2, $3 bans at the most.
    end_due = "UPDATE bans SET ended = 1 WHERE tenant = $1 AND ended = 0
            AND ban_id IN (SELECT ban_id FROM bans
                WHERE tenant = $1 AND ended = 0 AND expire_at <= $2
                ORDER BY expire_at, ban_id LIMIT $3)
        RETURNING ban_id, start_at, expire_at, started";
    /// Marks started what has begun by $2, $3 bans at the most.
    begin_due = "UPDATE bans SET started = 1 WHERE tenant = $1 AND ended = 0 AND started = 0
            AND ban_id IN (SELECT ban_id FROM bans
                WHERE tenant = $1 AND ended = 0 AND started = 0 AND start_at <= $2
                ORDER BY start_at, ban_id LIMIT $3)
        RETURNING ban_id, start_at";
    /// The same for one ban.
    begin_one = "UPDATE bans SET started = 1 WHERE tenant = $1 AND ended = 0 AND started = 0
            AND ban_id = $3 AND start_at <= $2
        RETURNING ban_id, start_at";
    list_holds_bans = "SELECT count(*) AS bans FROM (SELECT 1 AS one FROM bans
            WHERE tenant = $1 AND ended = 0 AND generation <> 0 AND generation = $2
                AND (expire_at IS NULL OR expire_at > $3) LIMIT 1) b";
    had_list = "SELECT count(*) AS lists FROM ban_lists WHERE tenant = $1 AND list_id = $2";
    delete_list = "UPDATE ban_lists SET deleted = 1, version = version + 1
        WHERE tenant = $1 AND list_id = $2";
    drop_generation = "INSERT INTO dropped_generations (tenant, generation, at, actor, reason)
        VALUES ($1, $2, $3, $4, $5)";
    /// Of tenants that are there: what is a deleted one's goes with it.
    dropped = "SELECT d.tenant, d.generation FROM dropped_generations d
        JOIN tenants t ON t.tenant = d.tenant AND t.deleted = 0
        ORDER BY d.tenant, d.generation LIMIT $1";
    dropped_one = "SELECT at, actor, reason FROM dropped_generations
        WHERE tenant = $1 AND generation = $2";
    /// Marks lifted what went with its list and was not over before, $3 bans at the most.
    end_dropped = "UPDATE bans SET ended = 1, deactivated_at = $4, deactivated_by = $5,
            deactivate_reason = $6, updated_at = $4, version = version + 1
        WHERE tenant = $1 AND ended = 0 AND ban_id IN (SELECT ban_id FROM bans
            WHERE tenant = $1 AND ended = 0 AND generation <> 0 AND generation = $2
                AND (expire_at IS NULL OR expire_at > $4)
            ORDER BY ban_id LIMIT $3)
        RETURNING ban_id, start_at, started";
    /// Imports begun before an instant, whose answers say what they staged.
    imports_begun = "SELECT tenant, answer FROM requests
        WHERE rpc = 'ImportBans/open' AND at < $1";
    /// What was staged and became the content of no list; nobody, who has no name, drops it. Where
    /// something was staged later than $4 the import still goes on.
    drop_staged = "INSERT INTO dropped_generations (tenant, generation, at, actor, reason)
        SELECT b.tenant, b.generation, CAST($3 AS BIGINT), '', '' FROM bans b
        WHERE b.tenant = $1 AND b.ended = 0 AND b.generation <> 0 AND b.generation = $2
            AND NOT EXISTS (SELECT 1 FROM ban_lists l
                WHERE l.tenant = $1 AND l.generation = $2)
            AND NOT EXISTS (SELECT 1 FROM bans y WHERE y.tenant = $1 AND y.ended = 0
                AND y.generation <> 0 AND y.generation = $2 AND y.created_at >= $4)
        LIMIT 1
        ON CONFLICT (tenant, generation) DO NOTHING";
    /// The same for one ban, whose fields somebody is about to write.
    end_dropped_one = "UPDATE bans AS b SET ended = 1
        WHERE b.tenant = $1 AND b.ban_id = $2 AND EXISTS (SELECT 1 FROM {dropped})
        RETURNING ban_id, start_at, started";
    forget_generation = "DELETE FROM dropped_generations WHERE tenant = $1 AND generation = $2";
    delete_tenant = "UPDATE tenants SET deleted = 1, version = version + 1 WHERE tenant = $1";
    deleted_tenants = "SELECT tenant FROM tenants WHERE deleted = 1 ORDER BY tenant LIMIT $1";
    lock_deleted = "SELECT tenant FROM tenants WHERE tenant = $1 AND deleted = 1 {lock}";
    /// Of a deleted tenant its id stays, so that nobody gets it again.
    tenant_purged = "UPDATE tenants SET deleted = 2, display_name = '' WHERE tenant = $1";
    any_bans = "SELECT ban_id FROM bans WHERE tenant = $1 ORDER BY ban_id LIMIT $2";
    /// Who does not keep ended bans for ever, and for how many days.
    purging = "SELECT tenant, ended_ban_retention_days AS days FROM tenants
        WHERE deleted = 0 AND ended_ban_retention_days > 0 AND tenant > $1
        ORDER BY tenant LIMIT $2";
    ended_bans = "SELECT ban_id FROM bans WHERE tenant = $1 AND ended = 1
            AND coalesce(deactivated_at, expire_at) < $2
        ORDER BY coalesce(deactivated_at, expire_at) LIMIT $3";
    purge_keys = "DELETE FROM ban_keys WHERE tenant = $1
        AND ban_id IN ({hexes:$2})";
    purge_targets = "DELETE FROM ban_targets WHERE tenant = $1
        AND ban_id IN ({hexes:$2})";
    purge_matches = "DELETE FROM ban_matches WHERE tenant = $1
        AND ban_id IN ({hexes:$2})";
    purge_events = "DELETE FROM ban_events WHERE tenant = $1
        AND ban_id IN ({hexes:$2})";
    purge_bans = "DELETE FROM bans WHERE tenant = $1
        AND ban_id IN ({hexes:$2})";
    purge_other_events = "DELETE FROM ban_events WHERE tenant = $1 AND event_id IN
        (SELECT event_id FROM ban_events WHERE tenant = $1 LIMIT $2)";
    /// But for what a second try of the deletion is answered by.
    purge_requests = "DELETE FROM requests WHERE tenant = $1 AND rpc <> 'DeleteTenant'
        AND (rpc, request_id) IN (SELECT rpc, request_id FROM requests
            WHERE tenant = $1 AND rpc <> 'DeleteTenant' LIMIT $2)";
    /// What has not ended under these keys, where whatever is like a ban on one of them is found.
    standing = "SELECT b.ban_id, b.likeness, b.generation, b.expire_at FROM bans b
        WHERE b.tenant = $1 AND b.ended = 0 AND b.ban_id {under} ORDER BY b.ban_id";
    set_ban = "UPDATE bans SET channels = $3, reason = $4, reason_code = $5, enforcement = $6,
            started = CASE WHEN start_at IS NOT DISTINCT FROM $7 THEN started ELSE 0 END,
            start_at = $7, expire_at = $8, ended = $9, updated_at = $10, deactivated_at = $11,
            deactivated_by = $12, deactivate_reason = $13, likeness = $14, version = $15
        WHERE tenant = $1 AND ban_id = $2";
    /// Words that are empty stay as they were. The tenant is compared in a way that looks as if it
    /// came from a row: else SQLite looks through all rows for each of the tenant's bans.
    renew_bans = "UPDATE bans SET
            reason = CASE r.reason WHEN '' THEN bans.reason ELSE r.reason END,
            reason_code = CASE r.reason_code WHEN '' THEN bans.reason_code ELSE r.reason_code END,
            started = CASE WHEN bans.start_at IS NOT DISTINCT FROM r.start_at THEN bans.started
                ELSE 0 END,
            start_at = r.start_at, expire_at = r.expire_at, updated_at = $3,
            version = bans.version + 1
        FROM {renewals:$2}
        WHERE bans.tenant = coalesce($1, r.reason) AND bans.ban_id = r.ban_id";
    lift_bans = "UPDATE bans SET ended = 1, updated_at = $3, deactivated_at = $3,
            deactivated_by = $4, deactivate_reason = $5, version = version + 1
        WHERE tenant = $1 AND ended = 0 AND (expire_at IS NULL OR expire_at > $3)
            AND ban_id IN ({hexes:$2})
        RETURNING ban_id";
    children = "SELECT ban_id FROM bans WHERE tenant = $1 AND parent = $2 AND ended = 0
        ORDER BY ban_id";
    /// Bans in force beside one, under its keys or under these.
    overlapping = "SELECT DISTINCT o.ban_id FROM ban_keys k
        JOIN bans o ON o.tenant = k.tenant AND o.ban_id = k.ban_id
        WHERE k.tenant = $1 AND k.match_key IN (SELECT unhex(r.value) FROM {texts:$2}
                UNION SELECT own.match_key FROM ban_keys own WHERE own.tenant = $1
                    AND own.ban_id = $3 AND ($5 = 1 OR own.kind <> 3 OR own.matches <> 2))
            AND {beside}
        ORDER BY o.ban_id LIMIT $6";
    /// The same among the first $8 places from $2 on and before $7.
    inside = "SELECT DISTINCT o.ban_id FROM (SELECT i.tenant, i.ban_id, i.kind, i.matches
                FROM ban_keys i WHERE i.tenant = $1 AND i.place >= $2 AND i.place < $7
                ORDER BY i.place LIMIT $8) k
        JOIN bans o ON o.tenant = k.tenant AND o.ban_id = k.ban_id
        WHERE {beside}
        ORDER BY o.ban_id LIMIT $6";
    /// The first $3 targets of the bans after one: which have aged, or are made under other keys than
    /// $5 and $6; which of those nobody can read again; and which of them hold by such a key alone.
    aged_bans = "SELECT w.ban_id AS id, count(*) AS targets,
            max(CASE WHEN w.canonical <> '' THEN w.aged ELSE 0 END) AS old,
            max(CASE WHEN w.canonical = '' THEN w.aged ELSE 0 END) AS erased,
            max(CASE WHEN w.canonical = '' AND w.elsewhere = 1
                AND EXISTS (SELECT 1 FROM ban_keys k WHERE k.tenant = $1 AND k.ban_id = w.ban_id
                    AND k.position = w.position)
                AND EXISTS (SELECT 1 FROM bans b WHERE b.tenant = $1 AND b.ban_id = w.ban_id
                    AND b.ended = 0)
                THEN 1 ELSE 0 END) AS bound
        FROM (SELECT t.ban_id, t.position, t.canonical,
                CASE WHEN t.canonicaliser_version < $4 OR t.made_under NOT IN ($5, $6)
                    THEN 1 ELSE 0 END AS aged,
                CASE WHEN t.made_under NOT IN ($5, $6) THEN 1 ELSE 0 END AS elsewhere
              FROM ban_targets t WHERE t.tenant = $1 AND t.ban_id > $2
              ORDER BY t.ban_id, t.position LIMIT $3) w
        GROUP BY w.ban_id ORDER BY w.ban_id";
    aged_exceptions = "SELECT w.id, 1 AS targets,
            CASE WHEN w.canonical <> '' THEN w.aged ELSE 0 END AS old,
            CASE WHEN w.canonical = '' THEN w.aged ELSE 0 END AS erased,
            CASE WHEN w.canonical = '' AND w.elsewhere = 1 AND w.ended = 0 THEN 1 ELSE 0 END AS bound
        FROM (SELECT x.exception_id AS id, x.canonical, x.ended,
                CASE WHEN x.canonicaliser_version < $4 OR x.made_under NOT IN ($5, $6)
                    THEN 1 ELSE 0 END AS aged,
                CASE WHEN x.made_under NOT IN ($5, $6) THEN 1 ELSE 0 END AS elsewhere
              FROM exceptions x WHERE x.tenant = $1 AND x.exception_id > $2
              ORDER BY x.exception_id LIMIT $3) w
        ORDER BY w.id";
    bans_named = "SELECT {whole_ban} FROM bans b
        WHERE b.tenant = $1 AND b.ban_id IN ({hexes:$2})";
    drop_keys = "DELETE FROM ban_keys
        WHERE tenant = $1 AND ban_id IN ({hexes:$2})";
    set_targets = "UPDATE ban_targets
        SET canonical = r.canonical, canonicaliser_version = r.version, made_under = $3
        FROM {targets:$2}
        WHERE ban_targets.tenant = $1 AND ban_targets.ban_id = r.ban_id
            AND ban_targets.position = r.position";
    set_likeness = "UPDATE bans SET likeness = r.likeness FROM {likenesses:$2}
        WHERE bans.tenant = $1 AND bans.ban_id = r.ban_id";
    /// What a view needs of these bans.
    records = "SELECT {bans_by_column}, {keys_by_column}
        FROM (SELECT {ban_record}, {key_record}
            FROM bans b JOIN ban_keys k ON k.tenant = b.tenant AND k.ban_id = b.ban_id
            WHERE b.tenant = $1 AND b.ban_id IN ({hexes:$2})
            ORDER BY b.ban_id, k.ordinal) p";
    /// What a view needs of the bans after $2 and up to $3 that can still hold, of $4 bans at the most.
    load = "SELECT {bans_by_column} FROM (SELECT {ban_record} FROM bans b
            WHERE b.tenant = $1 AND b.ban_id > $2 AND b.ban_id <= $3 AND b.ended = 0
            ORDER BY b.ban_id LIMIT $4) p";
    /// The same from the other end on; turned round there they would take half as long again.
    load_back = "SELECT {bans_by_column} FROM (SELECT {ban_record} FROM bans b
            WHERE b.tenant = $1 AND b.ban_id > $2 AND b.ban_id <= $3 AND b.ended = 0
            ORDER BY b.ban_id DESC LIMIT $4) p";
    /// The first $4 keys in their range: to look for those of each ban would be most of a load's work.
    load_keys = "SELECT {keys_by_column} FROM (SELECT k.ban_id, {key_record} FROM ban_keys k
            WHERE k.tenant = $1 AND k.ban_id > $2 AND k.ban_id <= $3
            ORDER BY k.ban_id, k.ordinal LIMIT $4) p";
    load_keys_of = "SELECT {keys_by_column} FROM (SELECT k.ban_id, {key_record} FROM ban_keys k
            WHERE k.tenant = $1 AND k.ban_id IN ({hexes:$2}) ORDER BY k.ban_id, k.ordinal) p";
    bans_of = "SELECT {whole_ban} FROM bans b
        WHERE b.tenant = $1 AND b.ban_id IN ({hexes:$2}) AND {shown}";
    /// What a view needs of the bans whose time is not over that are found by these keys.
    bans_by_keys = "SELECT {bans_by_column}, {keys_by_column}
        FROM (SELECT {ban_record}, {key_record}
            FROM ban_keys k JOIN bans b ON b.tenant = k.tenant AND b.ban_id = k.ban_id
            WHERE k.tenant = $1 AND k.match_key IN ({hexes:$2})
                AND b.ended = 0 AND (b.expire_at IS NULL OR b.expire_at > $3) AND {shown}
                AND NOT EXISTS (SELECT 1 FROM {dropped})
            ORDER BY b.ban_id, k.ordinal) p";
    /// A ban that has one target more.
    extend_ban = "UPDATE bans SET updated_at = $3, likeness = $4, version = $5
        WHERE tenant = $1 AND ban_id = $2";
    next_ordinal = "SELECT coalesce(max(ordinal) + 1, 0) AS next FROM ban_keys
        WHERE tenant = $1 AND ban_id = $2";
    ban = "SELECT {whole_ban} FROM bans b WHERE b.tenant = $1 AND b.ban_id = $2";
    /// Those that have not ended first, then the newest.
    concerning = "SELECT {whole_ban} FROM bans b
        WHERE b.tenant = $1 AND b.ban_id {under} AND {shown}
        ORDER BY b.ended, b.ban_id DESC LIMIT $3";
    count_bans = "SELECT count(*) AS total FROM bans b WHERE {filter}";
    bans_newest_first = "SELECT {whole_ban} FROM bans b
        WHERE {filter} ORDER BY b.ban_id DESC LIMIT $18";
    bans_soonest_over = "SELECT {whole_ban} FROM bans b
        WHERE {filter} {soonest_over}";
    /// The same where keys are asked for, by which there are hardly any bans.
    count_found = "SELECT count(*) AS total FROM {found} WHERE {filter}";
    found_newest_first = "SELECT {whole_ban} FROM {found}
        WHERE {filter} ORDER BY b.ban_id DESC LIMIT $18";
    found_soonest_over = "SELECT {whole_ban} FROM {found}
        WHERE {filter} {soonest_over}";
    /// Adds to what has been counted, always in one order; of bans that are gone nothing is kept.
    count_matches = "INSERT INTO ban_matches (tenant, ban_id, matches, last_at)
        SELECT b.tenant, b.ban_id, r.matches, r.last_at FROM {matches:$1}
        JOIN bans b ON b.tenant = r.tenant AND b.ban_id = r.ban_id
        WHERE true ORDER BY b.tenant, b.ban_id
        ON CONFLICT (tenant, ban_id) DO UPDATE SET matches = ban_matches.matches + excluded.matches,
            last_at = CASE WHEN excluded.last_at > ban_matches.last_at
                THEN excluded.last_at ELSE ban_matches.last_at END";
    /// At most $18.
    ban_ids = "SELECT b.ban_id FROM bans b WHERE {filter}
        ORDER BY b.ban_id LIMIT $18";
    /// The same bans whole, but for their targets and keys: those are read beside them, in the same
    /// order, for a look-up a ban is most of the work. A page of each is one JSON column.
    export_bans = "SELECT CAST({gather}({exported}) AS TEXT) AS page
        FROM (SELECT b.*, m.matches, m.last_at, d.at AS dropped_at, d.actor AS dropped_by,
                d.reason AS dropped_why
            FROM bans b LEFT JOIN ban_matches m ON m.tenant = b.tenant AND m.ban_id = b.ban_id
            LEFT JOIN dropped_generations d ON d.tenant = b.tenant AND d.generation = b.generation
                AND b.ended = 0 AND (b.expire_at IS NULL OR b.expire_at > d.at)
            WHERE {filter}
            ORDER BY b.ban_id LIMIT $18) p";
    export_targets = "SELECT CAST({gather}({array}(lower({hex:p.ban_id}), {array}(p.kind, p.input,
                p.canonical, p.issuer, p.canonicaliser_version))) AS TEXT) AS page
        FROM (SELECT * FROM ban_targets WHERE tenant = $1 AND ban_id >= $2 AND ban_id <= $3
            ORDER BY ban_id, position) p";
    export_keys = "SELECT CAST({gather}({array}(lower({hex:p.ban_id}), p.position, p.key_text)) AS TEXT)
            AS page
        FROM (SELECT * FROM ban_keys WHERE tenant = $1 AND ban_id >= $2 AND ban_id <= $3
            ORDER BY ban_id, ordinal) p";
    events_of = "SELECT e.*, CAST(NULL AS bigint) AS rev FROM ban_events e WHERE e.tenant = $1
            AND e.nonce IN ({numbers:$2})
        ORDER BY e.event_id";
    add_events = "INSERT INTO ban_events
            (tenant, event_id, ban_id, action, actor, at, comment, nonce)
        SELECT $1, r.event_id, r.ban_id, r.action, r.actor, r.at, r.comment, $3
        FROM {events:$2}";
    add_event = "INSERT INTO ban_events
            (tenant, event_id, ban_id, action, actor, at, comment, nonce)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    /// Two rows of the feed may bear one nonce by chance: an event comes once all the same.
    events = "SELECT e.*, (SELECT min(f.rev) FROM feed f
                WHERE f.nonce = e.nonce AND f.tenant = e.tenant) AS rev
        FROM ban_events e
        WHERE e.tenant = $1 AND ($2 = 0 OR e.ban_id = $3) AND ($4 = '' OR e.actor = $4)
            AND e.at >= $5 AND e.at < $6 AND e.event_id > $7
        ORDER BY e.event_id LIMIT $8";
    add_tenant = "INSERT INTO tenants (tenant, display_name, operator_banning_enabled,
            default_region, time_zone, failure_mode, default_record_to, ended_ban_retention_days,
            email_fold, ipv6_prefix, version, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (tenant) DO NOTHING RETURNING tenant";
    set_settings = "UPDATE tenants SET display_name = $2, operator_banning_enabled = $3,
            default_region = $4, time_zone = $5, failure_mode = $6, default_record_to = $7,
            ended_ban_retention_days = $8, email_fold = $9, ipv6_prefix = $10, version = $11
        WHERE tenant = $1";
    settings = "SELECT * FROM tenants WHERE tenant = $1 AND deleted = 0";
    tenant_record = "SELECT * FROM tenants WHERE tenant = $1";
    tenants = "SELECT * FROM tenants WHERE tenant > $1 AND deleted = 0 ORDER BY tenant LIMIT $2";
    next_generation = "UPDATE tenants SET next_generation = next_generation + 1 WHERE tenant = $1
        RETURNING next_generation - 1 AS generation";
    add_list = "INSERT INTO ban_lists (tenant, list_id, generation, title, title_key, description,
            default_timeout_text, webchat_ban_type, ban_contact_phones, treatment, enforcement,
            enforce_outbound, repeat_ladder, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    set_list = "UPDATE ban_lists SET generation = $3, title = $4, title_key = $5, description = $6,
            default_timeout_text = $7, webchat_ban_type = $8, ban_contact_phones = $9,
            treatment = $10, enforcement = $11, enforce_outbound = $12, repeat_ladder = $13,
            version = $14
        WHERE tenant = $1 AND list_id = $2";
    clear_list_queues = "DELETE FROM ban_list_queues WHERE tenant = $1 AND list_id = $2";
    add_list_queues = "INSERT INTO ban_list_queues (tenant, list_id, queue)
        SELECT $1, $2, r.value FROM {texts:$3}";
    touch_list = "UPDATE ban_lists SET version = $3 WHERE tenant = $1 AND list_id = $2";
    list_counts = "SELECT (SELECT count(*) FROM ban_lists WHERE tenant = $1 AND deleted = 0) AS lists,
        (SELECT count(*) FROM ban_list_queues WHERE tenant = $1) AS relations";
    list = "SELECT {whole_list} FROM ban_lists l
        WHERE l.tenant = $1 AND l.list_id = $2 AND l.deleted = 0";
    lists = "SELECT {whole_list} FROM ban_lists l
        WHERE l.tenant = $1 AND l.list_id > $2 AND l.deleted = 0 ORDER BY l.list_id LIMIT $3";
    list_record = "SELECT {whole_list} FROM ban_lists l WHERE l.tenant = $1 AND l.list_id = $2";
    list_records = "SELECT {whole_list} FROM ban_lists l WHERE l.tenant = $1 AND l.deleted = 0";
    /// Some queues, whatever is known of them, and whether a rights profile may ban from each.
    at_queues = "SELECT r.value AS queue, {whole_policy}, {enforced:r.value},
            (SELECT count(*) FROM ban_rights a WHERE a.tenant = $1 AND a.rights_profile = $3
                 AND a.queue = r.value) AS allowed
        FROM {texts:$2} LEFT JOIN queue_policies q ON q.tenant = $1 AND q.queue = r.value";
    queue_policies = "SELECT q.queue, {whole_policy}, {enforced:q.queue}, 0 AS allowed
        FROM queue_policies q WHERE q.tenant = $1 AND q.queue > $2 ORDER BY q.queue LIMIT $3";
    set_queue_policy = "INSERT INTO queue_policies
            (tenant, queue, channel, campaign, record_to, list_id, withheld)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (tenant, queue) DO UPDATE SET channel = excluded.channel,
            campaign = excluded.campaign, record_to = excluded.record_to,
            list_id = excluded.list_id, withheld = excluded.withheld";
    queue_record = "SELECT queue, channel, withheld FROM queue_policies
        WHERE tenant = $1 AND queue = $2";
    queue_records = "SELECT queue, channel, withheld FROM queue_policies WHERE tenant = $1";
    recording = "SELECT count(*) AS queues FROM queue_policies WHERE tenant = $1 AND list_id = $2";
    clear_ban_rights = "DELETE FROM ban_rights WHERE tenant = $1 AND rights_profile = $2";
    add_ban_rights = "INSERT INTO ban_rights (tenant, rights_profile, queue)
        SELECT $1, $2, r.value FROM {texts:$3}";
    ban_rights = "SELECT a.rights_profile,
            CAST({gather}(a.queue ORDER BY a.queue) AS TEXT) AS queues
        FROM ban_rights a WHERE a.tenant = $1 AND a.rights_profile > $2
        GROUP BY a.rights_profile ORDER BY a.rights_profile LIMIT $3";
    queue_counts = "SELECT (SELECT count(*) FROM queue_policies WHERE tenant = $1) AS policies,
        (SELECT count(*) FROM ban_rights WHERE tenant = $1 AND rights_profile <> $2) AS rights";
    /// How many bans of a list were ever on the same identity, of several the one most banned. Other
    /// names of a mail address (2 of kind 3) count where $4 says so.
    times_banned = "SELECT count(DISTINCT b.ban_id) AS times
        FROM {forms:$3} JOIN ban_keys k ON k.tenant = $1 AND k.match_key = r.match_key
            AND k.space = r.space
        JOIN bans b ON b.tenant = k.tenant AND b.ban_id = k.ban_id AND b.list_id = $2
        WHERE $4 = 1 OR k.matches <> 2 OR k.kind <> 3
        GROUP BY r.position ORDER BY times DESC LIMIT 1";
    add_exception = "INSERT INTO exceptions (tenant, exception_id, kind, input, canonical, issuer,
            canonicaliser_version, match_kind, channels, comment, expire_at, protected, ended,
            created_at, created_by, deactivated_by, deactivate_reason, made_under)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, $14, '', '', $15)";
    add_exception_keys = "INSERT INTO exception_keys (tenant, exception_id, ordinal, space, width,
            match_key, kind, matches, key_text, canonicaliser_version)
        SELECT $1, r.ban_id, r.ordinal, r.space, r.width, r.match_key, r.kind,
            r.matches, r.key_text, r.version
        FROM {keys:$2}";
    end_exception = "UPDATE exceptions SET ended = $3, deactivated_at = $4, deactivated_by = $5,
            deactivate_reason = $6
        WHERE tenant = $1 AND exception_id = $2";
    /// Marks ended some of those that are over.
    retire_exceptions = "UPDATE exceptions SET ended = 1
        WHERE tenant = $1 AND exception_id IN (SELECT x.exception_id FROM exceptions x
            WHERE x.tenant = $1 AND x.ended = 0 AND x.expire_at <= $2
            ORDER BY x.expire_at, x.exception_id LIMIT $3)
        RETURNING exception_id, expire_at";
    exception = "SELECT {whole_exception} FROM exceptions x
        WHERE x.tenant = $1 AND x.exception_id = $2";
    exceptions_named = "SELECT {whole_exception} FROM exceptions x
        WHERE x.tenant = $1 AND x.exception_id IN ({hexes:$2})";
    drop_exception_keys = "DELETE FROM exception_keys
        WHERE tenant = $1 AND exception_id IN ({hexes:$2})";
    /// The tenant is compared as in [`Statements::renew_bans`].
    set_exception_targets = "UPDATE exceptions
        SET canonical = r.canonical, canonicaliser_version = r.version, made_under = $3
        FROM {targets:$2}
        WHERE exceptions.tenant = coalesce($1, r.input)
            AND exceptions.exception_id = r.ban_id";
    exceptions_in_time = "SELECT {whole_exception} FROM exceptions x
        WHERE x.tenant = $1 AND x.ended = 0 AND (x.expire_at IS NULL OR x.expire_at > $2)
        ORDER BY x.exception_id";
    exceptions_by_keys = "SELECT {whole_exception} FROM exceptions x
        WHERE x.tenant = $1 AND x.ended = 0 AND (x.expire_at IS NULL OR x.expire_at > $2)
            AND x.exception_id IN (SELECT k.exception_id FROM exception_keys k WHERE k.tenant = $1
                AND k.match_key IN ({hexes:$3}))
        ORDER BY x.exception_id";
    /// Those that have not ended first, then the newest.
    concerning_exceptions = "SELECT {whole_exception} FROM exceptions x
        WHERE x.tenant = $1 AND x.exception_id IN (SELECT k.exception_id FROM exception_keys k
            WHERE k.tenant = $1 AND k.match_key IN ({hexes:$2}))
        ORDER BY x.ended, x.exception_id DESC LIMIT $3";
    count_exceptions = "SELECT count(*) AS total FROM exceptions
        WHERE tenant = $1 AND ended = 0 AND (expire_at IS NULL OR expire_at > $2)";
    /// $2 is the states wanted, a bit each, told at $3; $4 is the one to go on after.
    exceptions = "SELECT {whole_exception} FROM exceptions x
        WHERE x.tenant = $1 AND ((CASE WHEN x.deactivated_at IS NOT NULL THEN 16
                WHEN x.ended = 1 OR x.expire_at <= $3 THEN 8 ELSE 4 END) & $2) <> 0
            AND x.exception_id > $4
        ORDER BY x.exception_id LIMIT $5";
    exception_records = "{exception_records}
        WHERE x.tenant = $1 AND x.exception_id IN ({hexes:$2})
        ORDER BY x.exception_id, k.ordinal";
    load_exceptions = "{exception_records}
        WHERE x.tenant = $1 AND x.ended = 0 ORDER BY x.exception_id, k.ordinal";
    lifted = "SELECT * FROM lifted_protections WHERE tenant = $1 ORDER BY name";
    lift = "INSERT INTO lifted_protections (tenant, name, lifted_at, lifted_by, reason)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, name) DO NOTHING";
    put_back = "DELETE FROM lifted_protections WHERE tenant = $1 AND name = $2";
    targets_under = "SELECT DISTINCT k.ban_id, k.position FROM ban_keys k WHERE k.tenant = $1
            AND k.match_key IN ({hexes:$2}) AND k.space = 1
        ORDER BY k.ban_id, k.position";
    exceptions_under = "SELECT DISTINCT k.exception_id FROM exception_keys k WHERE k.tenant = $1
            AND k.match_key IN ({hexes:$2}) AND k.space = 1
        ORDER BY k.exception_id";
    blank_targets = "UPDATE ban_targets SET input = '', canonical = '', issuer = '' FROM {spots:$2}
        WHERE ban_targets.tenant = $1 AND ban_targets.ban_id = r.ban_id
            AND ban_targets.position = r.position";
    blank_keys = "UPDATE ban_keys SET key_text = NULL, place = NULL FROM {spots:$2}
        WHERE ban_keys.tenant = $1 AND ban_keys.ban_id = r.ban_id
            AND ban_keys.position = r.position";
    drop_target_keys = "DELETE FROM ban_keys WHERE tenant = $1 AND (ban_id, position) IN
        (SELECT r.ban_id, r.position FROM {spots:$2})";
    /// What people wrote of bans goes, and an end may come nearer.
    blank_bans = "UPDATE bans SET reason = '', deactivate_reason = '', source_interaction = '',
            updated_at = $3, version = version + 1, expire_at = CASE
                WHEN CAST($4 AS bigint) IS NULL OR expire_at <= CAST($4 AS bigint) THEN expire_at
                ELSE CAST($4 AS bigint) END
        WHERE tenant = $1 AND ban_id IN ({hexes:$2})";
    /// Bans that are not on all any more whom they were on are like no other.
    unlike = "UPDATE bans SET likeness = ban_id WHERE tenant = $1 AND ban_id IN ({hexes:$2})";
    blank_events = "UPDATE ban_events SET comment = '' WHERE tenant = $1 AND comment <> ''
        AND ban_id IN ({hexes:$2})";
    /// Of exceptions, which the history names in words.
    blank_exception_events = "UPDATE ban_events SET comment = '' WHERE tenant = $1
        AND ban_id IS NULL AND EXISTS
            (SELECT 1 AS one FROM {texts:$2} WHERE ban_events.comment LIKE r.value || ':%')";
    blank_exceptions = "UPDATE exceptions SET input = '', canonical = '', issuer = '', comment = '',
            deactivate_reason = ''
        WHERE tenant = $1 AND exception_id IN ({hexes:$2})";
    blank_exception_keys = "UPDATE exception_keys SET key_text = NULL WHERE tenant = $1
        AND exception_id IN ({hexes:$2})";
    drop_exceptions = "DELETE FROM exceptions WHERE tenant = $1
        AND exception_id IN ({hexes:$2})";
    /// Answers that name one of these ids, in which the words stand still.
    forget_answers = "DELETE FROM requests WHERE tenant = $1 AND EXISTS
        (SELECT 1 AS one FROM {texts:$2} WHERE requests.answer LIKE '%' || r.value || '%')";
    note_erasure = "INSERT INTO erasures
            (tenant, erasure_id, at, actor, match_keys, kept, hash_expire_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, erasure_id) DO NOTHING";
    erasures = "SELECT * FROM erasures WHERE tenant = $1 AND erasure_id > $2
        ORDER BY erasure_id LIMIT $3";
    lock_access = "SELECT a.value,
            (SELECT m.value FROM meta m WHERE m.name = 'key-check') AS keys
        FROM meta a WHERE a.name = 'access' {lock}";
    principal = "SELECT * FROM principals WHERE principal = $1";
    principals = "SELECT * FROM principals WHERE principal > $1 ORDER BY principal LIMIT $2";
    count_principals = "SELECT count(*) AS total FROM principals";
    set_principal = "INSERT INTO principals (principal, grants, version) VALUES ($1, $2, $3)
        ON CONFLICT (principal) DO UPDATE SET grants = excluded.grants, version = excluded.version";
    api_key = "SELECT * FROM api_keys WHERE key_id = $1";
    api_keys = "SELECT * FROM api_keys WHERE ($1 = '' OR principal = $1) AND key_id > $2
        ORDER BY key_id LIMIT $3";
    add_api_key = "INSERT INTO api_keys (key_id, principal, display_name, lock, created_at,
            created_by, expire_at, revoked_at, made_under)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    /// Keys in force at $1 that are locked under other master keys than $2 and $3.
    keys_locked_elsewhere = "SELECT * FROM api_keys WHERE made_under NOT IN ($2, $3)
            AND revoked_at IS NULL AND (expire_at IS NULL OR expire_at > $1)
        ORDER BY key_id";
    end_api_key = "UPDATE api_keys SET expire_at = $2, revoked_at = $3 WHERE key_id = $1";
    /// What recognising a key's holder needs, of one principal or of all; not of keys long over.
    key_records = "SELECT key_id, principal, lock, expire_at FROM api_keys
        WHERE ($1 = '' OR principal = $1) AND revoked_at IS NULL
            AND (expire_at IS NULL OR expire_at > $2)
        ORDER BY key_id";
    /// The parts of an import, which are remembered by their number and its id.
    import_parts = "SELECT count(*) AS parts FROM requests
        WHERE tenant = $1 AND rpc = 'ImportBans/rows' AND request_id LIKE '%#' || $2";
    request = "SELECT body, answer FROM requests WHERE tenant = $1 AND rpc = $2 AND request_id = $3";
    add_request = "INSERT INTO requests (tenant, rpc, request_id, body, answer, at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    /// Touches the row in a commit of its own: if this is seen, so will be what came before.
    outcome = "UPDATE requests SET at = at WHERE tenant = $1 AND rpc = $2 AND request_id = $3
        RETURNING body, answer";
    tell = "INSERT INTO feed_intents (nonce, tenant, kind, payload) VALUES ($1, $2, $3, $4)";
    head = "SELECT f.rev, f.nonce, {recovery} AS in_recovery, {clock} AS clock FROM {newest} f";
    marks = "SELECT rev, nonce FROM feed WHERE rev > $1 ORDER BY rev";
    /// Floor, head, the server's state and the rows from $1 on, all of one instant. Each end is asked for
    /// by itself: for both in one go SQLite looks at the whole feed.
    tail = "SELECT h.lowest, h.highest, {recovery} AS in_recovery, {agreed} AS agreed,
            {clock} AS clock, (SELECT value FROM meta WHERE name = 'epoch') AS epoch,
            (SELECT value FROM meta WHERE name = 'key-check') AS keys,
            f.rev, f.nonce, f.tenant, f.kind, f.payload
        FROM (SELECT (SELECT min(rev) FROM feed) AS lowest, (SELECT max(rev) FROM feed) AS highest) h
        LEFT JOIN (SELECT rev, nonce, tenant, kind, payload, sum(length(payload))
                       OVER (ORDER BY rev) - length(payload) AS before
                   FROM (SELECT * FROM feed WHERE rev >= $1 ORDER BY rev LIMIT $2) next) f
            ON f.before < $3
        ORDER BY f.rev";
    /// Up to the first row that is young enough, and not by age alone: clocks go back, and a row
    /// missing in the middle would be a short list passed off as whole (S-7).
    young = "SELECT (SELECT min(rev) FROM feed) AS lowest, coalesce(
            (SELECT min(rev) FROM feed WHERE at >= $1), (SELECT max(rev) FROM feed)) AS young";
    prune_feed = "DELETE FROM feed WHERE rev < $1 AND rev < (SELECT max(rev) FROM feed)";
    prune_requests = "DELETE FROM requests WHERE (tenant, rpc, request_id) IN (
            SELECT tenant, rpc, request_id FROM requests WHERE at < $1 ORDER BY at LIMIT $2)";
    meta = "SELECT value FROM meta WHERE name = $1";
    lock_keys = "SELECT value FROM meta WHERE name = 'key-check' {lock}";
    lock_epoch = "SELECT value FROM meta WHERE name = 'epoch' {lock}";
    set_meta_once = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    set_meta = "INSERT INTO meta (name, value) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    sizes = "SELECT b.tenant, count(*) AS keys
        FROM bans b JOIN ban_keys k ON k.tenant = b.tenant AND k.ban_id = b.ban_id
        WHERE b.ended = 0 GROUP BY b.tenant ORDER BY 2 DESC, 1";
    /// What the feed holds in the place of a row, and whether that is pruned already.
    at = "SELECT (SELECT nonce FROM feed WHERE rev = $1) AS nonce, min(rev) AS lowest FROM feed";
}
