"""What is kept and what is not: policies, legal holds, expiry and erasure."""
