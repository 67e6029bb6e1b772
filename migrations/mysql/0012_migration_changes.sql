CREATE INDEX procwarden_migrations_changes ON procwarden_migrations (writer, change_seq)
