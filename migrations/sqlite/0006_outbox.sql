CREATE TABLE procwarden_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    instance VARCHAR(128) NOT NULL,
    seq BIGINT NOT NULL,
    channel VARCHAR(64) NOT NULL,
    payload TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
)
