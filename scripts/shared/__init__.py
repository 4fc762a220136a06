"""What several scripts need."""
