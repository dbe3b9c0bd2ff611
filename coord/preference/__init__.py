"""Rewards learned from pairwise preferences: five replaceable roles, the reward model, and the methods on top."""
