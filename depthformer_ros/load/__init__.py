"""Commands that load a running node and measure it."""
