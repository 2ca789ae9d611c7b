"""Motion representations for articulated animation (CVPR 2021)."""
