"""The demonstration: a made-up fleet, its history played through the real intake, and its story."""
