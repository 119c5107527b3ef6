-- A ban alike that stands is what keeps a row out, without a look before it. So all that is under the key
-- counts, not the newest alone; and whether there is anything goes first, for mostly there is nothing: asked
-- last, it cost an import more than the rows of its keys.
DROP TRIGGER ban_keys_one_alike;
CREATE TRIGGER ban_keys_one_alike BEFORE INSERT ON ban_keys
WHEN NEW.matches <> 2
    AND EXISTS (SELECT 1 FROM ban_keys k
        WHERE k.tenant = NEW.tenant AND k.match_key = NEW.match_key AND k.ban_id <> NEW.ban_id)
    AND EXISTS (SELECT 1 FROM bans b
        CROSS JOIN ban_keys k ON k.tenant = b.tenant AND k.match_key = NEW.match_key AND k.ban_id <> b.ban_id
        CROSS JOIN bans o ON o.tenant = k.tenant AND o.ban_id = k.ban_id
        WHERE b.tenant = NEW.tenant AND b.ban_id = NEW.ban_id AND b.ended = 0
            AND o.ended = 0 AND o.likeness = b.likeness AND o.generation = b.generation)
BEGIN
    SELECT RAISE(ABORT, 'bans_one_alike: a ban alike has not ended');
END;
