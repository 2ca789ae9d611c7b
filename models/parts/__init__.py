"""What two families or more share: blocks, warps, key points, feature networks, losses."""
