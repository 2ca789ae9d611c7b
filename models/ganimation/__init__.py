"""GANimation: expressions of one face by intensities of action units (ECCV 2018)."""
