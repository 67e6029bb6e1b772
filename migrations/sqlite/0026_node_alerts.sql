ALTER TABLE procwarden_nodes ADD COLUMN maintenance_until BIGINT;
ALTER TABLE procwarden_nodes ADD COLUMN alerted BIGINT
