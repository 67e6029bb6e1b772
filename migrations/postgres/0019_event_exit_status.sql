ALTER TABLE procwarden_events ADD COLUMN exit_status BIGINT
