ALTER TABLE procwarden_migrations ADD COLUMN their_status VARCHAR(32)
