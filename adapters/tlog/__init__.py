"""What serves the verifiable log: proofs, verification, reconstruction, bundles."""
