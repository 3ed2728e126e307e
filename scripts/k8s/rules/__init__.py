"""What no schema knows. Each module has `check(objects, variables)`, which says what is wrong, in sentences."""
