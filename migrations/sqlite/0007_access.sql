-- Who may ask: principals with what was granted to them, and their keys. Of a key's secret only a
-- keyed hash is kept, under a key that no database holds.

CREATE TABLE principals (
    principal TEXT    PRIMARY KEY,
    -- A JSON array, written and read as a whole.
    grants    TEXT    NOT NULL,
    version   INTEGER NOT NULL
);

CREATE TABLE api_keys (
    key_id       TEXT    PRIMARY KEY,
    principal    TEXT    NOT NULL REFERENCES principals,
    display_name TEXT    NOT NULL,
    lock         BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    created_by   TEXT    NOT NULL,
    expire_at    INTEGER,
    revoked_at   INTEGER
);
CREATE INDEX api_keys_by_principal ON api_keys (principal, key_id);

-- Whoever changes any of it locks this row, as one locks a tenant's to change its bans.
INSERT INTO meta (name, value) VALUES ('access', '');
