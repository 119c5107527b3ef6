-- Bans are listed by their ids, which tell when they were made: an index of that cost each ban as much as
-- a key of it. A ban's targets and keys come and go in the transaction of the ban: to ask for it again at
-- each row cost a tenth of an import. Constraints are no more than words in the schema, and are taken out of
-- it as SQLite's manual has it ("Making Other Kinds Of Table Schema Changes"); that an index goes has every
-- connection read the schema anew.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'TEXT NOT NULL REFERENCES tenants', 'TEXT NOT NULL')
    WHERE type = 'table' AND name = 'bans';
UPDATE sqlite_schema SET sql = replace(sql, ',
    FOREIGN KEY (tenant, ban_id) REFERENCES bans', '')
    WHERE type = 'table' AND name IN ('ban_targets', 'ban_keys');
DROP INDEX bans_by_creation;
PRAGMA writable_schema = RESET;
