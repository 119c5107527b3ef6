-- Customers who are never banned, found by the same keys as bans.

CREATE TABLE exceptions (
    tenant                TEXT     NOT NULL REFERENCES tenants,
    exception_id          BYTEA    NOT NULL,
    kind                  SMALLINT NOT NULL,
    -- Empty once the person has been erased.
    input                 TEXT     NOT NULL,
    canonical             TEXT     NOT NULL,
    issuer                TEXT     NOT NULL,
    canonicaliser_version SMALLINT NOT NULL,
    match_kind            SMALLINT NOT NULL,
    channels              INTEGER  NOT NULL,
    comment               TEXT     NOT NULL,
    expire_at             BIGINT,
    protected             SMALLINT NOT NULL,
    ended                 SMALLINT NOT NULL,
    created_at            BIGINT   NOT NULL,
    created_by            TEXT     NOT NULL,
    deactivated_at        BIGINT,
    deactivated_by        TEXT     NOT NULL,
    deactivate_reason     TEXT     NOT NULL,
    PRIMARY KEY (tenant, exception_id)
);
CREATE INDEX exceptions_by_expiry ON exceptions (tenant, expire_at, exception_id) WHERE ended = 0;

CREATE TABLE exception_keys (
    tenant                TEXT     NOT NULL,
    exception_id          BYTEA    NOT NULL,
    ordinal               SMALLINT NOT NULL,
    space                 SMALLINT NOT NULL,
    width                 SMALLINT NOT NULL,
    match_key             BYTEA    NOT NULL,
    kind                  SMALLINT NOT NULL,
    matches               SMALLINT NOT NULL,
    key_text              TEXT,
    canonicaliser_version SMALLINT NOT NULL,
    PRIMARY KEY (tenant, exception_id, ordinal),
    FOREIGN KEY (tenant, exception_id) REFERENCES exceptions
);
CREATE INDEX exception_keys_by_key ON exception_keys (tenant, match_key);

-- Built-in protections that a tenant has lifted, by their names.
CREATE TABLE lifted_protections (
    tenant    TEXT   NOT NULL REFERENCES tenants,
    name      TEXT   NOT NULL,
    lifted_at BIGINT NOT NULL,
    lifted_by TEXT   NOT NULL,
    reason    TEXT   NOT NULL,
    PRIMARY KEY (tenant, name)
);
