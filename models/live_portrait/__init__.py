"""LivePortrait: animation by implicit key points in three dimensions, with stitching and retargeting."""
