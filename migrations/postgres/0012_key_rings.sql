-- Under which master key a row's digests are made, by a number of the key's own: what is filed under
-- one that is to go is told by it, and filed anew. 0: a version without rings of keys wrote the row,
-- which is to say that it is the key that was in use before any other came beside it.
ALTER TABLE ban_targets ADD COLUMN made_under INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exceptions ADD COLUMN made_under INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN made_under INTEGER NOT NULL DEFAULT 0;
