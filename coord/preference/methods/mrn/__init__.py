"""Meta-Reward-Net: the bilevel story and its gradients."""
