INSERT INTO procwarden_revision (name, revision)
SELECT 'nodes', 0 FROM DUAL
WHERE NOT EXISTS (SELECT 1 FROM procwarden_revision WHERE name = 'nodes')
