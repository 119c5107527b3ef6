-- Customers who are never banned, found by the same keys as bans.

CREATE TABLE exceptions (
    tenant                TEXT    NOT NULL REFERENCES tenants,
    exception_id          BLOB    NOT NULL,
    kind                  INTEGER NOT NULL,
    -- Empty once the person has been erased.
    input                 TEXT    NOT NULL,
    canonical             TEXT    NOT NULL,
    issuer                TEXT    NOT NULL,
    canonicaliser_version INTEGER NOT NULL,
    match_kind            INTEGER NOT NULL,
    channels              INTEGER NOT NULL,
    comment               TEXT    NOT NULL,
    expire_at             INTEGER,
    protected             INTEGER NOT NULL,
    ended                 INTEGER NOT NULL,
    created_at            INTEGER NOT NULL,
    created_by            TEXT    NOT NULL,
    deactivated_at        INTEGER,
    deactivated_by        TEXT    NOT NULL,
    deactivate_reason     TEXT    NOT NULL,
    PRIMARY KEY (tenant, exception_id)
);
CREATE INDEX exceptions_by_expiry ON exceptions (tenant, expire_at, exception_id) WHERE ended = 0;

CREATE TABLE exception_keys (
    tenant                TEXT    NOT NULL,
    exception_id          BLOB    NOT NULL,
    ordinal               INTEGER NOT NULL,
    space                 INTEGER NOT NULL,
    width                 INTEGER NOT NULL,
    match_key             BLOB    NOT NULL,
    kind                  INTEGER NOT NULL,
    matches               INTEGER NOT NULL,
    key_text              TEXT,
    canonicaliser_version INTEGER NOT NULL,
    PRIMARY KEY (tenant, exception_id, ordinal),
    FOREIGN KEY (tenant, exception_id) REFERENCES exceptions
) WITHOUT ROWID;
CREATE INDEX exception_keys_by_key ON exception_keys (tenant, match_key);

-- Built-in protections that a tenant has lifted, by their names.
CREATE TABLE lifted_protections (
    tenant    TEXT    NOT NULL REFERENCES tenants,
    name      TEXT    NOT NULL,
    lifted_at INTEGER NOT NULL,
    lifted_by TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
