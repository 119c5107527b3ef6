-- What queues do about bans, and which rights profiles may ban from them. Queues and profiles are the
-- callers' own ids: they sort by their bytes, in both stores alike.

CREATE TABLE queue_policies (
    tenant    TEXT     NOT NULL REFERENCES tenants,
    queue     TEXT     NOT NULL COLLATE "C",
    channel   SMALLINT NOT NULL,
    campaign  SMALLINT NOT NULL,
    -- Nothing: as the tenant has it for the channel.
    record_to SMALLINT,
    list_id   TEXT,
    withheld  SMALLINT NOT NULL,
    PRIMARY KEY (tenant, queue),
    FOREIGN KEY (tenant, list_id) REFERENCES ban_lists
);
CREATE INDEX queue_policies_by_list ON queue_policies (tenant, list_id) WHERE list_id IS NOT NULL;

CREATE TABLE ban_rights (
    tenant         TEXT NOT NULL REFERENCES tenants,
    rights_profile TEXT NOT NULL COLLATE "C",
    queue          TEXT NOT NULL COLLATE "C",
    PRIMARY KEY (tenant, rights_profile, queue)
);
