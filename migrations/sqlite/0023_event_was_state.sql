ALTER TABLE procwarden_events ADD COLUMN was_state VARCHAR(16)
