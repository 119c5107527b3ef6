-- What has happened stays written. Of an event the words of a person may be taken away, and it may go
-- with what it tells of: with its tenant, or, where ended bans are not kept for ever, with its ban.
CREATE TRIGGER ban_events_are_not_changed BEFORE UPDATE ON ban_events
WHEN NEW.comment <> '' OR NEW.ban_id IS NOT OLD.ban_id
    OR (NEW.tenant, NEW.event_id, NEW.action, NEW.actor, NEW.at, NEW.nonce)
        <> (OLD.tenant, OLD.event_id, OLD.action, OLD.actor, OLD.at, OLD.nonce)
BEGIN
    SELECT RAISE(ABORT, 'what has happened stays written');
END;
CREATE TRIGGER ban_events_are_not_deleted BEFORE DELETE ON ban_events
WHEN NOT EXISTS (SELECT 1 FROM tenants t WHERE t.tenant = OLD.tenant AND (t.deleted = 1
    OR t.ended_ban_retention_days > 0 AND OLD.ban_id IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM bans b
         WHERE b.tenant = OLD.tenant AND b.ban_id = OLD.ban_id AND b.ended = 0)))
BEGIN
    SELECT RAISE(ABORT, 'what has happened stays written');
END;
