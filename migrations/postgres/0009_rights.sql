-- What has happened stays written. Of an event the words of a person may be taken away, and it may go
-- with what it tells of: with its tenant, or, where ended bans are not kept for ever, with its ban.
CREATE FUNCTION ban_events_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.comment = ''
            AND (NEW.tenant, NEW.event_id, NEW.action, NEW.actor, NEW.at, NEW.nonce)
                = (OLD.tenant, OLD.event_id, OLD.action, OLD.actor, OLD.at, OLD.nonce)
            AND NEW.ban_id IS NOT DISTINCT FROM OLD.ban_id
        THEN
            RETURN NEW;
        END IF;
    ELSIF EXISTS (SELECT 1 FROM tenants t WHERE t.tenant = OLD.tenant AND (t.deleted = 1
        OR t.ended_ban_retention_days > 0 AND OLD.ban_id IS NOT NULL AND NOT EXISTS
            (SELECT 1 FROM bans b
             WHERE b.tenant = OLD.tenant AND b.ban_id = OLD.ban_id AND b.ended = 0)))
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'what has happened stays written' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER ban_events_stay BEFORE UPDATE OR DELETE ON ban_events
    FOR EACH ROW EXECUTE FUNCTION ban_events_stay();

-- Whoever connects becomes one of these, which own nothing: the one writes, the other reads. Roles are
-- the whole cluster's, so another database may have made them, or be making them just now.
DO $$
DECLARE
    one text;
    is_ours boolean;
BEGIN
    FOREACH one IN ARRAY ARRAY['bancheck_app', 'bancheck_reader'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = one) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', one);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        -- From Postgres 16 on a member need not be allowed to become the role.
        EXECUTE format('SELECT pg_has_role(current_user, %L, %L)', one,
            CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER'
                ELSE 'SET' END) INTO is_ours;
        IF NOT is_ours THEN
            EXECUTE format('GRANT %I TO %I', one, current_user);
        END IF;
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the role % may not make roles; an administrator runs, once: CREATE ROLE bancheck_app NOLOGIN; CREATE ROLE bancheck_reader NOLOGIN; GRANT bancheck_app, bancheck_reader TO %;',
        quote_ident(current_user), quote_ident(current_user)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

DO $$
DECLARE
    here text := quote_ident(current_schema());
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO bancheck_app, bancheck_reader', here);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %s TO bancheck_app, bancheck_reader', here);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s TO bancheck_app', here);
    -- Those of later versions too.
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %s
        GRANT SELECT ON TABLES TO bancheck_app, bancheck_reader', here);
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %s
        GRANT INSERT, UPDATE, DELETE ON TABLES TO bancheck_app', here);
END
$$;
REVOKE UPDATE ON ban_events, feed, feed_intents FROM bancheck_app;
GRANT UPDATE (comment) ON ban_events TO bancheck_app;
REVOKE DELETE ON tenants, meta, principals, api_keys FROM bancheck_app;
DO $$
BEGIN
    -- Not there where the scripts were run by hand.
    IF to_regclass('_sqlx_migrations') IS NOT NULL THEN
        REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM bancheck_app;
    END IF;
END
$$;
