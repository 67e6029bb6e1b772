CREATE TABLE procwarden_instances (
    name VARCHAR(128) NOT NULL PRIMARY KEY,
    host_id VARCHAR(128) NOT NULL,
    boot_id VARCHAR(64) NOT NULL,
    pid_ns BIGINT NOT NULL,
    pid BIGINT NOT NULL,
    version VARCHAR(32) NOT NULL,
    since BIGINT NOT NULL,
    last_beat BIGINT NOT NULL,
    swept_at BIGINT,
    swept_up BIGINT,
    tick_ms BIGINT NOT NULL DEFAULT 0,
    nodes BIGINT NOT NULL DEFAULT 0,
    locks BIGINT NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
