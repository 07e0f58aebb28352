"""What a generated street holds: road, houses, trees, cars, and what they are made of."""
