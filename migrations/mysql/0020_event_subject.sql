CREATE INDEX procwarden_events_subject ON procwarden_events (kind, subject_id, at)
