-- What is written most costs less. New ones are put at the end, and not at the beginning, where each
-- page would be left half empty.
DROP INDEX bans_by_creation;
CREATE INDEX bans_by_creation ON bans (tenant, created_at, ban_id);

-- Permanent ones, which most are, have no place among ends.
DROP INDEX bans_by_expiry;
CREATE INDEX bans_by_expiry ON bans (tenant, expire_at, ban_id) WHERE ended = 0 AND expire_at IS NOT NULL;

-- Whoever lifts a ban asks which others it has brought with it.
CREATE INDEX bans_by_parent ON bans (tenant, parent) WHERE parent IS NOT NULL;

-- What the planner takes for granted, whatever there is: a tenant has very many bans and hardly any share
-- a key. Without statistics SQLite takes a tenant's rows for ten, and looks at all of them rather than for
-- those that it is asked about; those it would gather by itself are of the day on which it did.
ANALYZE tenants;
DELETE FROM sqlite_stat4;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('bans', 'sqlite_autoindex_bans_1', '1000000 100000 1'),
    ('bans', 'bans_by_creation', '1000000 100000 100 1'),
    ('bans', 'bans_by_expiry', '100000 10000 10 1'),
    ('bans', 'bans_over_next', '100000 10 10'),
    ('bans', 'bans_begun_next', '1000 10 10 1'),
    ('bans', 'bans_one_alike', '1000000 100000 1 1'),
    ('bans', 'bans_by_generation', '500000 50000 10000'),
    ('bans', 'bans_by_parent', '100000 10000 2'),
    ('bans', 'bans_ended', '100000 10000 10'),
    ('ban_targets', 'ban_targets', '1000000 100000 1 1'),
    ('ban_keys', 'ban_keys', '2000000 200000 2 1'),
    ('ban_keys', 'ban_keys_by_key', '2000000 200000 2'),
    ('ban_keys', 'ban_keys_by_place', '1000000 100000 2'),
    ('ban_events', 'sqlite_autoindex_ban_events_1', '1000000 100000 1'),
    ('ban_events', 'ban_events_by_ban', '1000000 100000 3 1'),
    ('ban_events', 'ban_events_by_nonce', '1000000 10'),
    ('requests', 'sqlite_autoindex_requests_1', '100000 10000 1000 1'),
    ('requests', 'requests_by_age', '100000 1'),
    ('feed', 'feed_by_nonce', '100000 1'),
    ('exceptions', 'sqlite_autoindex_exceptions_1', '10000 1000 1'),
    ('exceptions', 'exceptions_by_expiry', '1000 100 10 1'),
    ('exceptions', 'exceptions_over_next', '1000 10 10'),
    ('exception_keys', 'exception_keys', '20000 2000 2 1'),
    ('exception_keys', 'exception_keys_by_key', '20000 2000 2'),
    ('ban_matches', 'ban_matches', '100000 10000 1');
ANALYZE sqlite_schema;
