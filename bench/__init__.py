"""The product beside its floors, in one run: figures are ratios and medians, never absolute times."""
