"""Content of a generated street: road, houses, trees, cars and their materials."""
