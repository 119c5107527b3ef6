-- Tenant first in every key. Instants are microseconds since the Unix epoch, flags 0 or 1, sets of
-- channels one bit each, so that both stores hold the same values in the same columns.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE tenants (
    tenant                   TEXT PRIMARY KEY,
    display_name             TEXT NOT NULL,
    operator_banning_enabled INTEGER NOT NULL,
    default_region           TEXT NOT NULL,
    time_zone                TEXT NOT NULL,
    failure_mode             INTEGER NOT NULL,
    default_record_to        TEXT NOT NULL,
    ended_ban_retention_days INTEGER NOT NULL,
    email_fold               INTEGER NOT NULL,
    ipv6_prefix              INTEGER NOT NULL,
    deleted                  INTEGER NOT NULL DEFAULT 0,
    -- The number that the next list, or the next content of a list, will carry.
    next_generation          INTEGER NOT NULL DEFAULT 1,
    version                  INTEGER NOT NULL,
    created_at               INTEGER NOT NULL
);

CREATE TABLE ban_lists (
    tenant               TEXT NOT NULL REFERENCES tenants,
    list_id              TEXT NOT NULL,
    generation           INTEGER NOT NULL,
    deleted              INTEGER NOT NULL DEFAULT 0,
    title                TEXT NOT NULL,
    title_key            TEXT NOT NULL,
    description          TEXT NOT NULL,
    default_timeout_text TEXT NOT NULL,
    webchat_ban_type     INTEGER NOT NULL,
    ban_contact_phones   INTEGER NOT NULL,
    treatment            INTEGER,
    enforcement          INTEGER NOT NULL,
    enforce_outbound     INTEGER NOT NULL,
    repeat_ladder        TEXT NOT NULL,
    version              INTEGER NOT NULL,
    PRIMARY KEY (tenant, list_id)
);
CREATE UNIQUE INDEX ban_lists_title ON ban_lists (tenant, title_key) WHERE deleted = 0;

CREATE TABLE ban_list_queues (
    tenant  TEXT NOT NULL,
    list_id TEXT NOT NULL,
    queue   TEXT NOT NULL,
    PRIMARY KEY (tenant, list_id, queue),
    FOREIGN KEY (tenant, list_id) REFERENCES ban_lists
) WITHOUT ROWID;

CREATE TABLE bans (
    tenant             TEXT NOT NULL REFERENCES tenants,
    ban_id             BLOB NOT NULL,
    list_id            TEXT,
    generation         INTEGER NOT NULL,
    channels           INTEGER NOT NULL,
    match_kind         INTEGER NOT NULL,
    reason             TEXT NOT NULL,
    reason_code        TEXT NOT NULL,
    enforcement        INTEGER NOT NULL,
    origin             INTEGER NOT NULL,
    start_at           INTEGER,
    expire_at          INTEGER,
    ended              INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    created_by         TEXT NOT NULL,
    deactivated_at     INTEGER,
    deactivated_by     TEXT NOT NULL,
    deactivate_reason  TEXT NOT NULL,
    source_interaction TEXT NOT NULL,
    source_queue       TEXT NOT NULL,
    parent             BLOB,
    import_id          TEXT NOT NULL,
    -- One digest of list, match kind, enforcement, channels and targets: what makes two bans the same.
    likeness           BLOB NOT NULL,
    version            INTEGER NOT NULL,
    PRIMARY KEY (tenant, ban_id)
);
CREATE UNIQUE INDEX bans_one_alike ON bans (tenant, likeness) WHERE ended = 0;
CREATE INDEX bans_by_creation ON bans (tenant, created_at DESC, ban_id DESC);
CREATE INDEX bans_by_expiry ON bans (tenant, expire_at, ban_id) WHERE ended = 0;

CREATE TABLE ban_targets (
    tenant                TEXT NOT NULL,
    ban_id                BLOB NOT NULL,
    position              INTEGER NOT NULL,
    kind                  INTEGER NOT NULL,
    -- Empty once the person has been erased; the keys may go on holding.
    input                 TEXT NOT NULL,
    canonical             TEXT NOT NULL,
    issuer                TEXT NOT NULL,
    canonicaliser_version INTEGER NOT NULL,
    PRIMARY KEY (tenant, ban_id, position),
    FOREIGN KEY (tenant, ban_id) REFERENCES bans
) WITHOUT ROWID;

CREATE TABLE ban_keys (
    tenant                TEXT NOT NULL,
    ban_id                BLOB NOT NULL,
    ordinal               INTEGER NOT NULL,
    position              INTEGER NOT NULL,
    space                 INTEGER NOT NULL,
    width                 INTEGER NOT NULL,
    match_key             BLOB NOT NULL,
    kind                  INTEGER NOT NULL,
    matches               INTEGER NOT NULL,
    key_text              TEXT,
    canonicaliser_version INTEGER NOT NULL,
    PRIMARY KEY (tenant, ban_id, ordinal),
    FOREIGN KEY (tenant, ban_id) REFERENCES bans
) WITHOUT ROWID;
CREATE INDEX ban_keys_by_key ON ban_keys (tenant, match_key);

CREATE TABLE ban_events (
    tenant   TEXT NOT NULL,
    event_id BLOB NOT NULL,
    ban_id   BLOB,
    action   TEXT NOT NULL,
    actor    TEXT NOT NULL,
    at       INTEGER NOT NULL,
    comment  TEXT NOT NULL,
    -- Of the feed row that told it, which says where in the feed it stands.
    nonce    INTEGER NOT NULL,
    PRIMARY KEY (tenant, event_id)
);
CREATE INDEX ban_events_by_ban ON ban_events (tenant, ban_id, event_id);

CREATE TABLE requests (
    tenant     TEXT NOT NULL,
    rpc        TEXT NOT NULL,
    request_id TEXT NOT NULL,
    body       BLOB NOT NULL,
    answer     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (tenant, rpc, request_id)
);
CREATE INDEX requests_by_age ON requests (at);

CREATE TABLE feed (
    rev     INTEGER PRIMARY KEY,
    nonce   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    tenant  TEXT NOT NULL,
    kind    INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX feed_by_nonce ON feed (nonce);

-- A transaction says here what it will tell; a trigger gives it its place in the feed.
CREATE TABLE feed_intents (
    nonce   INTEGER PRIMARY KEY,
    tenant  TEXT NOT NULL,
    kind    INTEGER NOT NULL,
    payload BLOB NOT NULL
);

-- There is one writer at a time, so the place is known at once.
CREATE TRIGGER feed_assign AFTER INSERT ON feed_intents
BEGIN
    INSERT INTO feed (rev, nonce, at, tenant, kind, payload)
    SELECT max(f.rev) + 1, NEW.nonce, CAST(unixepoch('subsec') * 1000000 AS INTEGER),
           NEW.tenant, NEW.kind, NEW.payload
    FROM feed f;
    DELETE FROM feed_intents WHERE nonce = NEW.nonce;
END;

-- The feed is never empty: whoever follows it holds on to the newest row it has seen.
INSERT INTO feed (rev, nonce, at, tenant, kind, payload)
VALUES (1, abs(random() % 4294967295), CAST(unixepoch('subsec') * 1000000 AS INTEGER), '', 0, x'');
INSERT INTO meta (name, value) VALUES ('epoch', '1');
