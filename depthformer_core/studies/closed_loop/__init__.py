"""Does a robot stop? Drives in which what the vehicle sees decides where it goes."""
