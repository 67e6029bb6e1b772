ALTER TABLE procwarden_instances ADD COLUMN alerted BIGINT
