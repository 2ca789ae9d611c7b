"""A module per tab: `build` makes its components, `connect` says what they do with the options of a model."""
