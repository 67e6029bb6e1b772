CREATE INDEX procwarden_events_at ON procwarden_events (at)
