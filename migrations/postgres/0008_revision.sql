CREATE TABLE procwarden_revision (
    name VARCHAR(32) NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
)
