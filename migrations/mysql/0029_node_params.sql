ALTER TABLE procwarden_nodes ADD COLUMN params MEDIUMTEXT
