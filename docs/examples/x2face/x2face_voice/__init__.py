"""X2Face driven by sound: a second stage."""
