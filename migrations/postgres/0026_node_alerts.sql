ALTER TABLE procwarden_nodes ADD COLUMN maintenance_until BIGINT, ADD COLUMN alerted BIGINT
