"""The scoreboard and the report on labels: recipes, plans, and the runner of their trainings and games."""
