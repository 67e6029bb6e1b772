CREATE TABLE procwarden_watches (
    instance VARCHAR(128) NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (instance, since)
)
