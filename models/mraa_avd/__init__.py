"""Motion representations for articulated animation, second stage: animation via disentanglement."""
