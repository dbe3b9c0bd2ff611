"""Terms of the report for a reader who is new to the field."""

from __future__ import annotations

TERMS: dict[str, str] = {
    "Kitchen, layout": "The floor plan the cooks share. A finished soup served at the hatch earns the team points.",
    "Tick": (
        "One step of the game; all cooks move, wait or interact at the same time. "
        "A game lasts 400 ticks unless another number is given, about a minute at human speed."
    ),
    "Return": "Points of the team in one game. With classic rules a soup earns 20, so a return of 120 is six soups.",
    "Seat": (
        "Which of the cooks (start place and hat) an agent plays. Kitchens are rarely symmetric, "
        "so every pair is scored with the seats both ways."
    ),
    "Ego": "The agent under test. Its partner is whoever holds the other seat.",
    "Human proxy": (
        "A network that imitates recorded games between people (behaviour cloning). The one used for scores "
        "learned from held-out games and is closed to training: a people-like stranger."
    ),
    "Self-play (SP)": "Training with copies of oneself; the habits that grow there often fail with others.",
    "Population, pool": "Several independently trained partners kept on disk.",
    "FCP": (
        "Fictitious co-play (Strouse et al. 2021): train an ego with a frozen pool of self-play agents, "
        "each at three levels of skill: untrained, half trained, fully trained."
    ),
    "PPO": "Proximal policy optimisation (Schulman et al. 2017), the learning rule used here.",
    "PPO_BC": "An agent trained by PPO with a clone of other human games as its partner (Carroll et al. 2019).",
    "Zero-shot coordination": "Playing well with a partner never met before, without practice together.",
    "Cross-play (XP)": "Games between agents that were trained apart. The cross-play matrix holds every pair.",
    "SP-XP gap": "Mean return of members with themselves minus mean return with each other. Large: private habits.",
    "95 % interval": (
        "A range around the mean that shows how far chance within the games could have moved it: of many such "
        "ranges, about 95 % hold the true mean of these agents. It does not cover what another training seed "
        "would have given, unless several seeds are among the rows."
    ),
    "IQM": "Interquartile mean: the mean of the middle half of all games, less swayed by a few odd ones.",
    "Stochastic, argmax": (
        "A network gives a probability for each action. Stochastic play draws from it; "
        "argmax play always takes the likeliest."
    ),
    "Collision": "A cook was to change tile, but others were in the way or wanted the same tile, so nobody moved.",
    "Idle": "A tick that ends as it began for a cook: same tile, same direction, no interaction with effect.",
    "Shaped reward": (
        "Small extra rewards in training (an onion potted, a dish fetched, a soup taken), faded out on the way "
        "and never part of a score."
    ),
    "Environment step": "One tick of one kitchen. Training runs many kitchens at once.",
}
