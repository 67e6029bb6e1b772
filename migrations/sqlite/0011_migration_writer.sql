ALTER TABLE procwarden_migrations ADD COLUMN writer VARCHAR(128);
ALTER TABLE procwarden_migrations ADD COLUMN change_seq BIGINT NOT NULL DEFAULT 0
