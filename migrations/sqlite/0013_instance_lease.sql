ALTER TABLE procwarden_instances ADD COLUMN start_ticks BIGINT;
ALTER TABLE procwarden_instances ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE procwarden_instances ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE procwarden_instances ADD COLUMN expires_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE procwarden_instances ADD COLUMN lease_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE procwarden_instances ADD COLUMN window_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE procwarden_instances ADD COLUMN swept_db BIGINT
