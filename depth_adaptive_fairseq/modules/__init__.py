"""Building blocks without a command line."""
