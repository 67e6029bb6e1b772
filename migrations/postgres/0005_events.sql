CREATE TABLE procwarden_events (
    instance VARCHAR(128) NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    subject_id BIGINT NOT NULL,
    name VARCHAR(128) NOT NULL,
    state VARCHAR(16) NOT NULL,
    reason VARCHAR(32),
    status VARCHAR(16),
    run BIGINT,
    PRIMARY KEY (instance, seq)
)
