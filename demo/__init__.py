"""Something worth looking at: `make demo`."""
