CREATE TABLE procwarden_findings (
    instance VARCHAR(128) NOT NULL,
    subject VARCHAR(255) NOT NULL,
    code VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    theirs TEXT NOT NULL,
    ours TEXT NOT NULL,
    rule TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT,
    PRIMARY KEY (instance, subject, code)
)
