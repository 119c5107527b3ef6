-- What time does to bans is noted once each: `started` says that of the beginning of a scheduled one,
-- `ended` that of the end.
ALTER TABLE bans ADD COLUMN started SMALLINT NOT NULL DEFAULT 0;

-- What comes next, of all tenants: looked at several times a second.
CREATE INDEX bans_over_next ON bans (expire_at) WHERE ended = 0 AND expire_at IS NOT NULL;
CREATE INDEX bans_begun_next ON bans (start_at, tenant, ban_id)
    WHERE ended = 0 AND started = 0 AND start_at IS NOT NULL;

-- How often bans matched checks: no part of what a ban is, so it has no etag and is in no feed row.
CREATE TABLE ban_matches (
    tenant  TEXT   NOT NULL,
    ban_id  BYTEA  NOT NULL,
    matches BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, ban_id)
);
