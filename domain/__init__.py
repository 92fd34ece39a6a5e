"""Pure rules of Configtrail: events, decisions, canonical forms, diffing. No I/O, no clock."""
