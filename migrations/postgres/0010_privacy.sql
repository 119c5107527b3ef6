-- What was erased, by keys that tell nothing of whom: after a restore of an older backup it is erased
-- again from a copy of these rows.
CREATE TABLE erasures (
    tenant         TEXT    NOT NULL REFERENCES tenants,
    erasure_id     BYTEA   NOT NULL,
    at             BIGINT  NOT NULL,
    actor          TEXT    NOT NULL,
    -- A JSON array of hexadecimal digits.
    match_keys     TEXT    NOT NULL,
    -- Whether bans in force were kept, and until when at the most.
    kept           INTEGER NOT NULL,
    hash_expire_at BIGINT,
    PRIMARY KEY (tenant, erasure_id)
);
