"""Messages turned into arrays and arrays into messages."""
