"""One module per folder of tests/reference: what each kind of case calls, and how its numbers are compared."""
