ALTER TABLE procwarden_migrations
    ADD COLUMN writer VARCHAR(128),
    ADD COLUMN change_seq BIGINT NOT NULL DEFAULT 0
