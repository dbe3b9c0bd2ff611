"""Whoever can hold a seat: one protocol, the scripted cook, learned agents, their files, their contexts."""
