"""The composition root: the one place where settings become connected parts, and parts roles.

`open_system` in `system` is the page to read. One module a capability has what it puts together:
`stores` what is kept in NATS, `rows` the read models in Postgres, `access` who may ask,
`collecting` how devices are read, `keeping` how long texts stay, `roles` what runs all the time.
"""

from adapters.composition.roles import collecting_roles, differ, reaper, roles
from adapters.composition.system import System, open_system

__all__ = ["System", "collecting_roles", "differ", "open_system", "reaper", "roles"]
