UPDATE procwarden_nodes SET owner = instance WHERE owner IS NULL
