ALTER TABLE procwarden_nodes ADD COLUMN kind VARCHAR(32) NOT NULL DEFAULT 'monero-wallet-rpc'
