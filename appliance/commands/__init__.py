"""The commands of the ground floor, one module each."""
