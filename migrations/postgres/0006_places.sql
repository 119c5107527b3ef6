-- Where a key lies among those of its kind: what is inside a range lies together. NULL where no
-- range holds it, and once the person has been erased.
ALTER TABLE ban_keys ADD COLUMN place TEXT COLLATE "C";
CREATE INDEX ban_keys_by_place ON ban_keys (tenant, place) WHERE place IS NOT NULL;
