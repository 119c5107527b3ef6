-- Tenant first in every key. Instants are microseconds since the Unix epoch, flags 0 or 1, sets of
-- channels one bit each, so that both stores hold the same values in the same columns.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE tenants (
    tenant                   TEXT     PRIMARY KEY,
    display_name             TEXT     NOT NULL,
    operator_banning_enabled SMALLINT NOT NULL,
    default_region           TEXT     NOT NULL,
    time_zone                TEXT     NOT NULL,
    failure_mode             SMALLINT NOT NULL,
    default_record_to        TEXT     NOT NULL,
    ended_ban_retention_days INTEGER  NOT NULL,
    email_fold               SMALLINT NOT NULL,
    ipv6_prefix              SMALLINT NOT NULL,
    deleted                  SMALLINT NOT NULL DEFAULT 0,
    -- The number that the next list, or the next content of a list, will carry.
    next_generation          INTEGER  NOT NULL DEFAULT 1,
    version                  BIGINT   NOT NULL,
    created_at               BIGINT   NOT NULL
);

CREATE TABLE ban_lists (
    tenant               TEXT     NOT NULL REFERENCES tenants,
    list_id              TEXT     NOT NULL,
    generation           INTEGER  NOT NULL,
    deleted              SMALLINT NOT NULL DEFAULT 0,
    title                TEXT     NOT NULL,
    title_key            TEXT     NOT NULL,
    description          TEXT     NOT NULL,
    default_timeout_text TEXT     NOT NULL,
    webchat_ban_type     SMALLINT NOT NULL,
    ban_contact_phones   SMALLINT NOT NULL,
    treatment            SMALLINT,
    enforcement          SMALLINT NOT NULL,
    enforce_outbound     SMALLINT NOT NULL,
    repeat_ladder        TEXT     NOT NULL,
    version              BIGINT   NOT NULL,
    PRIMARY KEY (tenant, list_id)
);
CREATE UNIQUE INDEX ban_lists_title ON ban_lists (tenant, title_key) WHERE deleted = 0;

CREATE TABLE ban_list_queues (
    tenant  TEXT NOT NULL,
    list_id TEXT NOT NULL,
    queue   TEXT NOT NULL,
    PRIMARY KEY (tenant, list_id, queue),
    FOREIGN KEY (tenant, list_id) REFERENCES ban_lists
);

CREATE TABLE bans (
    tenant             TEXT     NOT NULL REFERENCES tenants,
    ban_id             BYTEA    NOT NULL,
    list_id            TEXT,
    generation         INTEGER  NOT NULL,
    channels           INTEGER  NOT NULL,
    match_kind         SMALLINT NOT NULL,
    reason             TEXT     NOT NULL,
    reason_code        TEXT     NOT NULL,
    enforcement        SMALLINT NOT NULL,
    origin             SMALLINT NOT NULL,
    start_at           BIGINT,
    expire_at          BIGINT,
    ended              SMALLINT NOT NULL,
    created_at         BIGINT   NOT NULL,
    updated_at         BIGINT   NOT NULL,
    created_by         TEXT     NOT NULL,
    deactivated_at     BIGINT,
    deactivated_by     TEXT     NOT NULL,
    deactivate_reason  TEXT     NOT NULL,
    source_interaction TEXT     NOT NULL,
    source_queue       TEXT     NOT NULL,
    parent             BYTEA,
    import_id          TEXT     NOT NULL,
    -- One digest of list, match kind, enforcement, channels and targets: what makes two bans the same.
    likeness           BYTEA    NOT NULL,
    version            BIGINT   NOT NULL,
    PRIMARY KEY (tenant, ban_id)
);
CREATE UNIQUE INDEX bans_one_alike ON bans (tenant, likeness) WHERE ended = 0;
CREATE INDEX bans_by_creation ON bans (tenant, created_at DESC, ban_id DESC);
CREATE INDEX bans_by_expiry ON bans (tenant, expire_at, ban_id) WHERE ended = 0;

CREATE TABLE ban_targets (
    tenant                TEXT     NOT NULL,
    ban_id                BYTEA    NOT NULL,
    position              SMALLINT NOT NULL,
    kind                  SMALLINT NOT NULL,
    -- Empty once the person has been erased; the keys may go on holding.
    input                 TEXT     NOT NULL,
    canonical             TEXT     NOT NULL,
    issuer                TEXT     NOT NULL,
    canonicaliser_version SMALLINT NOT NULL,
    PRIMARY KEY (tenant, ban_id, position),
    FOREIGN KEY (tenant, ban_id) REFERENCES bans
);

CREATE TABLE ban_keys (
    tenant                TEXT     NOT NULL,
    ban_id                BYTEA    NOT NULL,
    ordinal               SMALLINT NOT NULL,
    position              SMALLINT NOT NULL,
    space                 SMALLINT NOT NULL,
    width                 SMALLINT NOT NULL,
    match_key             BYTEA    NOT NULL,
    kind                  SMALLINT NOT NULL,
    matches               SMALLINT NOT NULL,
    key_text              TEXT,
    canonicaliser_version SMALLINT NOT NULL,
    PRIMARY KEY (tenant, ban_id, ordinal),
    FOREIGN KEY (tenant, ban_id) REFERENCES bans
);
CREATE INDEX ban_keys_by_key ON ban_keys (tenant, match_key);

CREATE TABLE ban_events (
    tenant   TEXT   NOT NULL,
    event_id BYTEA  NOT NULL,
    ban_id   BYTEA,
    action   TEXT   NOT NULL,
    actor    TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    comment  TEXT   NOT NULL,
    -- Of the feed row that told it, which says where in the feed it stands.
    nonce    BIGINT NOT NULL,
    PRIMARY KEY (tenant, event_id)
);
CREATE INDEX ban_events_by_ban ON ban_events (tenant, ban_id, event_id);

CREATE TABLE requests (
    tenant     TEXT   NOT NULL,
    rpc        TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    body       BYTEA  NOT NULL,
    answer     TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (tenant, rpc, request_id)
);
CREATE INDEX requests_by_age ON requests (at);

CREATE TABLE feed (
    rev     BIGINT   PRIMARY KEY,
    nonce   BIGINT   NOT NULL,
    at      BIGINT   NOT NULL,
    tenant  TEXT     NOT NULL,
    kind    SMALLINT NOT NULL,
    payload BYTEA    NOT NULL
);
CREATE INDEX feed_by_nonce ON feed (nonce);

-- A transaction says here what it will tell; it gets its place in the feed while it commits.
CREATE TABLE feed_intents (
    nonce   BIGINT   PRIMARY KEY,
    tenant  TEXT     NOT NULL,
    kind    SMALLINT NOT NULL,
    payload BYTEA    NOT NULL
);

-- The lock is taken inside COMMIT and let go only when the commit can be seen, so revisions are
-- dense and in the order of commits; a sequence would let a reader step over a slow writer. The
-- lock and the look at the newest revision are two statements: the second must see what was
-- committed while the first waited.
CREATE FUNCTION feed_assign() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7166011403264135525);
    INSERT INTO feed (rev, nonce, at, tenant, kind, payload)
    SELECT max(f.rev) + 1, NEW.nonce, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
           NEW.tenant, NEW.kind, NEW.payload
    FROM feed f;
    DELETE FROM feed_intents WHERE nonce = NEW.nonce;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER feed_assign AFTER INSERT ON feed_intents
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION feed_assign();

-- The feed is never empty: whoever follows it holds on to the newest row it has seen.
INSERT INTO feed (rev, nonce, at, tenant, kind, payload)
VALUES (1, floor(random() * 4294967295)::bigint,
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, '', 0, '');
INSERT INTO meta (name, value) VALUES ('epoch', '1');

-- Known to SQLite by this name, so that statements can be shared.
CREATE FUNCTION unhex(text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN decode($1, 'hex');
