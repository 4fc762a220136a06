"""What can be run beside fairseq's own commands."""
