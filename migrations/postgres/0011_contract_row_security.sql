-- Whose rows a transaction is about it says itself, for as long as it lasts, in `bancheck.tenant`: a
-- tenant's id, '-' for what is the whole deployment's (rows whose tenant is empty), '*' for everybody.
-- One that says nothing finds nothing and writes nothing. So a statement that forgets its tenant
-- reaches no other tenant's rows. Who owns the tables is not bound by it.

-- Whose one tenant's rows this is about; nobody's, where it is about everybody's or says nothing.
CREATE FUNCTION asked_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE current_setting('bancheck.tenant', true)
        WHEN '' THEN NULL WHEN '*' THEN NULL WHEN '-' THEN ''
        ELSE current_setting('bancheck.tenant', true) END;
CREATE FUNCTION asked_everybody() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('bancheck.tenant', true) = '*', false);

-- Everybody's rows are read where it is looked for what time has done, where tenants are listed and
-- measured, and where the feed is followed. Written is one tenant's at a time, but for what is done to
-- very many rows at once and to no ban: counting matches, forgetting old answers and old feed rows.
--
-- Each function is asked once a statement, by a sub-select. A CASE, since the planner would take an OR
-- for a sign that hardly a row passes.
DO $$
DECLARE
    one text;
    own text := 'tenant = (SELECT asked_tenant())';
    everybodys text := 'CASE WHEN (SELECT asked_everybody()) THEN true ELSE ' || own || ' END';
BEGIN
    FOR one IN
        SELECT c.table_name FROM information_schema.columns c
        JOIN information_schema.tables t
            ON t.table_schema = c.table_schema AND t.table_name = c.table_name
        WHERE c.table_schema = current_schema() AND c.column_name = 'tenant'
            AND t.table_type = 'BASE TABLE'
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', one);
        EXECUTE format('CREATE POLICY tenants_read ON %I FOR SELECT
            TO bancheck_app, bancheck_reader USING (%s)', one,
            CASE WHEN one IN ('tenants', 'bans', 'ban_keys', 'ban_matches', 'exceptions',
                'dropped_generations', 'requests', 'feed') THEN everybodys ELSE own END);
        EXECUTE format('CREATE POLICY tenants_add ON %I FOR INSERT TO bancheck_app
            WITH CHECK (%s)', one, CASE one WHEN 'ban_matches' THEN everybodys ELSE own END);
        EXECUTE format('CREATE POLICY tenants_change ON %I FOR UPDATE TO bancheck_app
            USING (%s)', one, CASE one WHEN 'ban_matches' THEN everybodys ELSE own END);
        EXECUTE format('CREATE POLICY tenants_take ON %I FOR DELETE TO bancheck_app USING (%s)',
            one, CASE WHEN one IN ('requests', 'feed') THEN everybodys ELSE own END);
    END LOOP;
END
$$;

-- The feed is one for all tenants: its newest row is looked at for each of them, by number and mark
-- alone, and a new one is put in its place by the transaction's end, not by whoever writes.
CREATE FUNCTION feed_newest() RETURNS TABLE (rev bigint, nonce bigint)
    LANGUAGE sql STABLE SECURITY DEFINER ROWS 1
    BEGIN ATOMIC
        SELECT f.rev, f.nonce FROM feed f ORDER BY f.rev DESC LIMIT 1;
    END;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION feed_assign() SECURITY DEFINER SET search_path = %I, pg_temp',
        current_schema());
END
$$;
REVOKE INSERT ON feed FROM bancheck_app;

-- What was erased stays written too, until its tenant goes.
CREATE FUNCTION erasures_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND EXISTS (SELECT 1 FROM tenants t WHERE t.tenant = OLD.tenant AND t.deleted = 1)
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'what was erased stays written' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER erasures_stay BEFORE UPDATE OR DELETE ON erasures
    FOR EACH ROW EXECUTE FUNCTION erasures_stay();
REVOKE UPDATE ON erasures FROM bancheck_app;
