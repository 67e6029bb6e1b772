CREATE INDEX procwarden_nodes_changes ON procwarden_nodes (writer, change_seq)
