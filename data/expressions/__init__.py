"""Action units: tables, annotations, the clips that they drive."""
