"""Fast paths, hand-differentiated and compiled; each is held to its plain definition by a test."""
