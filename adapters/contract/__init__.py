"""The contract with other services, generated from the code: see `docs/contract`."""
