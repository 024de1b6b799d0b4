"""What neighbouring tiles found, put together as if it had been one tile."""
