"""What a policy may know beside the kitchen: a small vector inferred from what its partner did lately."""
