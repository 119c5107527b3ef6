-- That of bans alike one stands is kept beside the keys, where whatever is like a ban on somebody is found
-- already. An index of likenesses is a second b-tree in no order: each ban of an import rewrote a page of it,
-- and a million took half as long again.
--
-- Who writes has looked, and knows which one stands; this is for who forgot to. It looks at what is found by
-- its own name, and at the newest, for one key may have thousands of bans, most of them ended.
DROP INDEX bans_one_alike;
CREATE TRIGGER ban_keys_one_alike BEFORE INSERT ON ban_keys
WHEN NEW.matches <> 2 AND EXISTS (
    SELECT 1 FROM bans b
    CROSS JOIN (SELECT k.ban_id FROM ban_keys k
        WHERE k.tenant = NEW.tenant AND k.match_key = NEW.match_key ORDER BY k.ban_id DESC LIMIT 16) f
    CROSS JOIN bans o ON o.tenant = b.tenant AND o.ban_id = f.ban_id AND o.ban_id <> b.ban_id
    WHERE b.tenant = NEW.tenant AND b.ban_id = NEW.ban_id AND b.ended = 0
        AND o.ended = 0 AND o.likeness = b.likeness AND o.generation = b.generation)
BEGIN
    SELECT RAISE(ABORT, 'bans_one_alike: a ban alike has not ended');
END;
CREATE TRIGGER bans_one_alike BEFORE UPDATE OF likeness, generation, ended ON bans
WHEN NEW.ended = 0 AND EXISTS (
    SELECT 1 FROM ban_keys own
    CROSS JOIN bans o ON o.tenant = own.tenant AND o.ban_id <> own.ban_id AND o.ban_id IN (
        SELECT k.ban_id FROM ban_keys k
        WHERE k.tenant = own.tenant AND k.match_key = own.match_key ORDER BY k.ban_id DESC LIMIT 16)
    WHERE own.tenant = NEW.tenant AND own.ban_id = NEW.ban_id AND own.matches <> 2
        AND o.ended = 0 AND o.likeness = NEW.likeness AND o.generation = NEW.generation)
BEGIN
    SELECT RAISE(ABORT, 'bans_one_alike: a ban alike has not ended');
END;
