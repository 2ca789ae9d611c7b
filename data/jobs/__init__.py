"""The jobs of a command: pairs are read and cropped, results are written."""
