//! What several statements have in common.

// Of rows that come in: what is `hex` comes as hexadecimal digits and is bytes from there on.

pub(super) const BAN_COLUMNS: &str = "ban_id hex, list_id text, generation bigint, channels bigint, \
    match_kind bigint, reason text, reason_code text, enforcement bigint, origin bigint, \
    start_at bigint, expire_at bigint, ended bigint, created_at bigint, updated_at bigint, \
    created_by text, source_interaction text, source_queue text, parent hex, import_id text, \
    likeness hex, version bigint";
pub(super) const TARGET_COLUMNS: &str = "ban_id hex, position bigint, kind bigint, input text, \
    canonical text, issuer text, version bigint";
pub(super) const MATCH_COLUMNS: &str = "tenant text, ban_id hex, matches bigint, last_at bigint";
pub(super) const KEY_COLUMNS: &str = "ban_id hex, ordinal bigint, position bigint, space bigint, \
    width bigint, match_key hex, kind bigint, matches bigint, key_text text, place text, \
    version bigint";
pub(super) const SPOT_COLUMNS: &str = "ban_id hex, position bigint";
pub(super) const LIKENESS_COLUMNS: &str = "ban_id hex, likeness hex";

pub(super) const RENEWAL_COLUMNS: &str =
    "ban_id hex, reason text, reason_code text, start_at bigint, expire_at bigint";
pub(super) const EVENT_COLUMNS: &str =
    "event_id hex, ban_id hex, action text, actor text, at bigint, comment text";
pub(super) const FORM_COLUMNS: &str = "position bigint, space bigint, match_key hex";

/// What a view needs of a ban, and of a key: by name, for SQLite reads whatever of a row is named.
pub(super) const BAN_RECORD: &str =
    "b.ban_id, b.start_at, b.expire_at, b.generation, b.channels, b.enforcement, b.ended";
pub(super) const KEY_RECORD: &str = "k.space, k.width, k.match_key, k.kind, k.matches";
/// The same of many, a column of each; of a key with whose it is.
pub(super) const BANS_BY_COLUMN: &str = "{all:p.ban_id} AS ids,
    CAST({gather}(p.start_at) AS TEXT) AS starts, CAST({gather}(p.expire_at) AS TEXT) AS expires,
    CAST({gather}(p.generation) AS TEXT) AS generations,
    CAST({gather}(p.channels) AS TEXT) AS channels,
    CAST({gather}(p.enforcement) AS TEXT) AS enforcements,
    CAST({gather}(p.ended) AS TEXT) AS ended";
pub(super) const KEYS_BY_COLUMN: &str = "{all:p.ban_id || p.match_key} AS match_keys,
    CAST({gather}(p.space) AS TEXT) AS spaces, CAST({gather}(p.width) AS TEXT) AS widths,
    CAST({gather}(p.kind) AS TEXT) AS kinds, CAST({gather}(p.matches) AS TEXT) AS matches";

/// A ban as a JSON array, its parts in the order of `BanRow`, without targets and keys, nor the number
/// of its list's content, which only a store is told. One that went with its list is as it will be once
/// it is marked (as `BanRow::read` has it), which may take a while where there are many.
pub(super) const EXPORTED: &str =
    "{array}(lower({hex:p.ban_id}), p.list_id, 0, p.channels, p.match_kind,
            p.reason, p.reason_code, p.enforcement, p.origin, p.start_at, p.expire_at,
            CASE WHEN p.dropped_at IS NULL THEN p.ended ELSE 1 END, p.created_at,
            coalesce(p.dropped_at, p.updated_at), p.created_by,
            coalesce(p.dropped_at, p.deactivated_at), coalesce(p.dropped_by, p.deactivated_by),
            coalesce(p.dropped_why, p.deactivate_reason), p.source_interaction, p.source_queue,
            CASE WHEN p.parent IS NOT NULL THEN lower({hex:p.parent}) END, p.import_id,
            CASE WHEN p.dropped_at IS NULL THEN p.version ELSE p.version + 1 END,
            {array}(), {array}(), coalesce(p.matches, 0), p.last_at)";

/// A queue's policy with the lists that the queue checks, as a JSON column. Of a list that is gone
/// nothing is told.
pub(super) const WHOLE_POLICY: &str = "q.channel, q.campaign, q.record_to, q.withheld,
    (SELECT l.list_id FROM ban_lists l
        WHERE l.tenant = q.tenant AND l.list_id = q.list_id AND l.deleted = 0) AS list_id";
pub(super) const ENFORCED: &str =
    "coalesce((SELECT CAST({gather}(c.list_id ORDER BY c.list_id) AS TEXT)
              FROM ban_list_queues c JOIN ban_lists l ON l.tenant = c.tenant
                  AND l.list_id = c.list_id AND l.deleted = 0
              WHERE c.tenant = $1 AND c.queue = {of}), '[]') AS enforced";

/// A ban with its targets and the readable forms of its keys, as two JSON columns, and how often it
/// has matched.
pub(super) const WHOLE_BAN: &str = "b.*,
    coalesce((SELECT CAST({gather}({object}('kind', t.kind, 'input', t.input,
                  'canonical', t.canonical, 'issuer', t.issuer,
                  'version', t.canonicaliser_version) ORDER BY t.position) AS TEXT)
              FROM ban_targets t WHERE t.tenant = b.tenant AND t.ban_id = b.ban_id), '[]')
        AS targets,
    coalesce((SELECT CAST({gather}({array}(k.position, k.key_text) ORDER BY k.ordinal) AS TEXT)
              FROM ban_keys k WHERE k.tenant = b.tenant AND k.ban_id = b.ban_id), '[]')
        AS key_texts,
    (SELECT m.matches FROM ban_matches m WHERE m.tenant = b.tenant AND m.ban_id = b.ban_id)
        AS match_count,
    (SELECT m.last_at FROM ban_matches m WHERE m.tenant = b.tenant AND m.ban_id = b.ban_id)
        AS last_match_at,
    (SELECT d.at FROM {dropped}) AS dropped_at, (SELECT d.actor FROM {dropped}) AS dropped_by,
    (SELECT d.reason FROM {dropped}) AS dropped_why";

/// That a ban went with its list, or with the content of one, and is not marked ended yet.
pub(super) const DROPPED: &str = "dropped_generations d WHERE d.tenant = b.tenant
    AND d.generation = b.generation AND b.ended = 0
    AND (b.expire_at IS NULL OR b.expire_at > d.at)";

/// An exception with the readable forms of its keys, as a JSON column.
pub(super) const WHOLE_EXCEPTION: &str = "x.*,
    coalesce((SELECT CAST({gather}(k.key_text ORDER BY k.ordinal) AS TEXT)
              FROM exception_keys k
              WHERE k.tenant = x.tenant AND k.exception_id = x.exception_id), '[]') AS key_texts";

/// What a view needs of exceptions, a row a key.
pub(super) const EXCEPTION_RECORDS: &str = "SELECT x.exception_id, x.expire_at, x.channels,
            x.protected, x.ended, k.space, k.width, k.match_key, k.kind, k.matches
        FROM exceptions x JOIN exception_keys k
            ON k.tenant = x.tenant AND k.exception_id = x.exception_id";

/// A list with the queues that check it, as a JSON column.
pub(super) const WHOLE_LIST: &str = "l.*,
    coalesce((SELECT CAST({gather}(q.queue ORDER BY q.queue) AS TEXT)
              FROM ban_list_queues q WHERE q.tenant = l.tenant AND q.list_id = l.list_id), '[]')
        AS queues";

/// What a list of bans is narrowed by; $1 to $17. Of an instant $13 and $14 tell exactly, and the ids $16 and
/// $17 so that an index finds it.
pub(super) const BAN_FILTER: &str = "b.tenant = $1
    AND ((CASE WHEN b.deactivated_at IS NOT NULL OR EXISTS (SELECT 1 FROM {dropped}) THEN 16
               WHEN b.ended = 1 OR b.expire_at <= $3 THEN 8
               WHEN b.start_at > $3 THEN 2 ELSE 4 END) & $2) <> 0
    AND ($4 = 0 OR (b.channels & $4) <> 0)
    AND ($5 = '[]' OR b.list_id IN (SELECT r.value FROM {texts:$5}))
    AND ($6 = 0 OR ((1 << b.origin) & $6) <> 0)
    AND ($7 = '' OR b.import_id = $7)
    AND ($8 = 0 OR EXISTS (SELECT 1 FROM ban_keys k WHERE k.tenant = $1
                             AND k.ban_id = b.ban_id AND k.match_key IN ({hexes:$9})))
    AND ($10 = '' OR EXISTS (SELECT 1 FROM ban_targets t WHERE t.tenant = $1
                               AND t.ban_id = b.ban_id AND t.canonical LIKE $10 ESCAPE '!'))
    AND ($11 = '' OR b.reason LIKE $11 ESCAPE '!')
    AND ($12 = '' OR b.created_by = $12)
    AND b.created_at >= $13 AND b.created_at < $14
    AND ($15 < 0 OR b.expire_at < $15)
    AND b.ban_id > $16 AND b.ban_id < $17
    AND {shown}";

/// The bans under the keys in $2.
pub(super) const UNDER: &str = "SELECT k.ban_id FROM ban_keys k
    WHERE k.tenant = $1 AND k.match_key IN ({hexes:$2})";

/// Bans by the keys that a list of bans is narrowed by.
pub(super) const FOUND: &str = "(SELECT DISTINCT f.ban_id FROM ban_keys f
        WHERE f.tenant = $1 AND f.match_key IN ({hexes:$9})) f
    JOIN bans b ON b.tenant = $1 AND b.ban_id = f.ban_id";

/// The end of a list that asks, where $18 is not 0, for what comes after $19 and $20; $21 is how many.
pub(super) const SOONEST_OVER: &str =
    "AND ($18 = 0 OR {end} > $19 OR ({end} = $19 AND b.ban_id > $20))
    ORDER BY {end}, b.ban_id LIMIT $21";

/// Not what is staged to become the content of a list.
pub(super) const SHOWN: &str = "(b.ended = 1 OR b.list_id IS NULL OR b.generation <= coalesce(
        (SELECT l.generation FROM ban_lists l WHERE l.tenant = b.tenant AND l.list_id = b.list_id),
        b.generation))";

/// A ban `o` that holds, found by a key `k`, beside the ban $3 on one of its channels at $4; other
/// names of mail addresses count where $5 is 1.
pub(super) const BESIDE: &str = "k.ban_id <> $3 AND ($5 = 1 OR k.kind <> 3 OR k.matches <> 2)
    AND o.ended = 0 AND (o.expire_at IS NULL OR o.expire_at > $4)
    AND (o.start_at IS NULL OR o.start_at <= $4)
    AND (o.channels & (SELECT b.channels FROM bans b WHERE b.tenant = $1 AND b.ban_id = $3)) <> 0
    AND o.enforcement = 1 AND NOT EXISTS (SELECT 1 FROM ban_lists l
        WHERE l.tenant = o.tenant AND l.list_id = o.list_id
            AND (l.enforcement <> 1 OR l.generation <> o.generation OR l.deleted = 1))";

/// Where a permanent ban stands among ends: after all others.
pub(super) const END: &str = "coalesce(b.expire_at, 9223372036854775807)";

/// The tables of a tenant's configuration, those that others refer to last; small enough to be
/// emptied at once.
pub(super) const CONFIGURATION: [&str; 9] = [
    "erasures",
    "exception_keys",
    "exceptions",
    "lifted_protections",
    "dropped_generations",
    "ban_rights",
    "queue_policies",
    "ban_list_queues",
    "ban_lists",
];
