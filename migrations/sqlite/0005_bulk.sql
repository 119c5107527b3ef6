-- What a list is about to hold stands beside what it holds: the same ban twice, under two
-- generations, of which the list has one.
DROP INDEX bans_one_alike;
CREATE UNIQUE INDEX bans_one_alike ON bans (tenant, likeness, generation) WHERE ended = 0;

-- Whoever watches asks what happened in the transaction that a feed row tells of.
CREATE INDEX ban_events_by_nonce ON ban_events (nonce);
