"""Parts that several families share: blocks, warps, key points, feature networks, losses."""
