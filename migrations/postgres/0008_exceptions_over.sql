-- What comes next, of all tenants: looked at several times a second.
CREATE INDEX exceptions_over_next ON exceptions (expire_at, tenant)
    WHERE ended = 0 AND expire_at IS NOT NULL;
