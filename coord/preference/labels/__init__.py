"""From segments to stored answers: what was seen, what is asked, who answers, and where it is kept."""
