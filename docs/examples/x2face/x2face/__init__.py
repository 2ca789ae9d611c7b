"""X2Face, simplified (Wiles, Koepke and Zisserman, ECCV 2018)."""
