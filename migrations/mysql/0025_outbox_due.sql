CREATE INDEX procwarden_outbox_due ON procwarden_outbox (channel, next_at)
