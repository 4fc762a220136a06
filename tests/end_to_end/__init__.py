"""Runs of the fairseq commands with ``--user-dir depth_adaptive_fairseq``, from data to translations."""
