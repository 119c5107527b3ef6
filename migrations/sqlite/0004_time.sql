-- What time does to bans is noted once each: `started` says that of the beginning of a scheduled one,
-- `ended` that of the end.
ALTER TABLE bans ADD COLUMN started INTEGER NOT NULL DEFAULT 0;

-- What comes next, of all tenants: looked at several times a second.
CREATE INDEX bans_over_next ON bans (expire_at, tenant) WHERE ended = 0 AND expire_at IS NOT NULL;
CREATE INDEX bans_begun_next ON bans (start_at, tenant, ban_id)
    WHERE ended = 0 AND started = 0 AND start_at IS NOT NULL;

-- How often bans matched checks: no part of what a ban is, so it has no etag and is in no feed row.
CREATE TABLE ban_matches (
    tenant  TEXT   NOT NULL,
    ban_id  BLOB   NOT NULL,
    matches INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, ban_id)
) WITHOUT ROWID;

-- Numbers that no list carries any more: their bans count as lifted, and are marked so bit by bit,
-- which ends with this row.
CREATE TABLE dropped_generations (
    tenant     TEXT    NOT NULL REFERENCES tenants,
    generation INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    PRIMARY KEY (tenant, generation)
) WITHOUT ROWID;
CREATE INDEX bans_by_generation ON bans (tenant, generation) WHERE ended = 0 AND generation <> 0;

-- What has ended, by when, for those tenants that do not keep it for ever.
CREATE INDEX bans_ended ON bans (tenant, coalesce(deactivated_at, expire_at)) WHERE ended = 1;
-- Deleted tenants (1) until nothing is left of them (2) but their ids.
CREATE INDEX tenants_to_purge ON tenants (tenant) WHERE deleted = 1;
