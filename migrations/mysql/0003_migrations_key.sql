CREATE UNIQUE INDEX procwarden_migrations_key ON procwarden_migrations (mb_project_uuid, brz_project_id)
