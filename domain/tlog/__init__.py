"""The verifiable log: Merkle tree, leaves, signed notes, checkpoints and proofs. Pure.

Sources: RFC 6962 (tree), C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-proof (texts).
"""
