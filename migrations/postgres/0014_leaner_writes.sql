-- Bans are listed by their ids, which tell when they were made: an index of that cost each ban as much as
-- a key of it.
--
-- Tenants come first, as they do for whoever writes or loads, so that nobody waits for what we have while
-- we wait for what he has.
SET LOCAL lock_timeout = '15s';
LOCK TABLE tenants, bans IN ACCESS EXCLUSIVE MODE;
DROP INDEX bans_by_creation;
