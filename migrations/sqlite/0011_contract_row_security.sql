-- What was erased stays written too, until its tenant goes. Which tenant's rows a statement reaches is
-- kept by Postgres alone: a file is one process's own.
CREATE TRIGGER erasures_are_not_changed BEFORE UPDATE ON erasures
BEGIN
    SELECT RAISE(ABORT, 'what was erased stays written');
END;
CREATE TRIGGER erasures_are_not_deleted BEFORE DELETE ON erasures
WHEN NOT EXISTS (SELECT 1 FROM tenants t WHERE t.tenant = OLD.tenant AND t.deleted = 1)
BEGIN
    SELECT RAISE(ABORT, 'what was erased stays written');
END;
