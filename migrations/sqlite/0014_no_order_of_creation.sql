-- Bans are listed by their ids, which tell when they were made: an index of that cost each ban as much as
-- a key of it.
DROP INDEX bans_by_creation;
