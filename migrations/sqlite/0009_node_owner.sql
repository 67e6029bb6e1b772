ALTER TABLE procwarden_nodes ADD COLUMN placement VARCHAR(128);
ALTER TABLE procwarden_nodes ADD COLUMN owner VARCHAR(128);
ALTER TABLE procwarden_nodes ADD COLUMN writer VARCHAR(128);
ALTER TABLE procwarden_nodes ADD COLUMN change_seq BIGINT NOT NULL DEFAULT 0
