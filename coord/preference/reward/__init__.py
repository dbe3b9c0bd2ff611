"""The reward model: networks, the Bradley-Terry loss, models of annotators, warnings."""
