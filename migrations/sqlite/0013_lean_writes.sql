-- What is written most costs less. New ones are put at the end, and not at the beginning, where each
-- page would be left half empty.
DROP INDEX bans_by_creation;
CREATE INDEX bans_by_creation ON bans (tenant, created_at, ban_id);

-- Permanent ones, which most are, have no place among ends.
DROP INDEX bans_by_expiry;
CREATE INDEX bans_by_expiry ON bans (tenant, expire_at, ban_id) WHERE ended = 0 AND expire_at IS NOT NULL;
