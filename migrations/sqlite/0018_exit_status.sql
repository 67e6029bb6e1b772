ALTER TABLE procwarden_migrations ADD COLUMN exit_status INTEGER
