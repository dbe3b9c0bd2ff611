"""Who learns from the learned reward: SAC, PPO in kitchens and on control tasks, and the three steps of RLHF."""
