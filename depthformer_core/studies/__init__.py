"""Commands behind single tables of the documentation."""
