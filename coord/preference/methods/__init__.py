"""The methods by name, and what each changes in the loop."""
