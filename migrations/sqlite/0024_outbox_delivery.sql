ALTER TABLE procwarden_outbox ADD COLUMN delivery VARCHAR(64);
ALTER TABLE procwarden_outbox ADD COLUMN alerts BIGINT NOT NULL DEFAULT 1
