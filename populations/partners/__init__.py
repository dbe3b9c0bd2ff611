"""Partners that are not trained for the score: noisy, biased, with hidden utilities, and kickstarting teachers."""
