"""Other platforms than RouterOS, as profiles: what of their texts is noise, what is secret, and
how their hierarchy is written."""

from domain.profiles.profile import Profile
from domain.profiles.table import PROFILES

__all__ = ["PROFILES", "Profile"]
