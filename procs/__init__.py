"""What the children do, and the domain: the anonymised copy of one MongoDB collection."""
