"""NATS accounts: one for the services, one for each tenant that sends or replays by itself."""
