"""Reading configurations from devices over SSH."""
