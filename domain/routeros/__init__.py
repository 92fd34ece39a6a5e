"""RouterOS: how its exports are written, and what their words mean."""
