"""Terms of the report for a reader who is new to the field."""

from __future__ import annotations

KITCHEN_TERMS: dict[str, str] = {
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

PREFERENCE_TERMS: dict[str, str] = {
    "Query, answer": (
        "Two short segments of behaviour, side by side, and what somebody says about them: the left is better, the "
        "right is better, both are equal, or the question is skipped. Each seed asks queries of its own."
    ),
    "Labels": "Answers that the reward model learns from. Skipped queries count against the budget, but are no labels.",
    "Teacher": (
        "A script that answers by the true reward, without error (oracle) or with a human weakness; in kitchens by "
        "whatever it is said to want (teacher.wants)."
    ),
    "True reward": "The task's own reward. Learners from preferences never see it; evaluations are counted in it.",
    "Return": (
        "Sum of the true reward over an episode of evaluation, played with the policy's best guess, no noise "
        "(in kitchens with drawn actions)."
    ),
    "Success": "Whether the task was solved at some step of an episode; only Meta-World's tasks know that.",
    "Reward model": "Networks that learn from answers how good a step is; the policy is trained on their mean.",
    "Rank correlation": (
        "Spearman's correlation between predicted and true returns of segments of recent episodes: 1 is the same "
        "order, 0 no relation."
    ),
    "Share of SAC": (
        "Mean final return over that of SAC (Haarnoja et al. 2018) trained on the true reward with the same task and "
        "preset: 1 means that the answers were as good as the reward itself."
    ),
    "Seed, member": "One independent training. Members of a run train side by side, each with answers of its own.",
    "IQM": "Interquartile mean: the mean of the middle half of the seeds. With three seeds or fewer it is the mean.",
    "95 % interval": (
        "Bootstrap over seeds (Agarwal et al. 2021): how far another draw of seeds could have moved the figure. It "
        "cannot reach beyond the lowest and the highest seed, so with few seeds it is too narrow."
    ),
    "Preset": (
        "Published: networks, budgets and schedules as in the papers. Fast: smaller ones for CPUs; its figures are "
        "not comparable with published ones."
    ),
    "PEBBLE": "Pretraining on novelty, then SAC on a learned reward, relabelling all experience (Lee et al. 2021).",
    "MRN": "Meta-Reward-Net (Liu et al. 2022): the reward is also trained so that the critic agrees with the answers.",
    "g_meta, g_sup": (
        "Gradients of the reward model: through a trial step of the critic (meta), and of the loss on answers itself "
        "(supervised)."
    ),
    "Environment step": "One action of one seed's simulation.",
}
