"""History of other programs on its way in: their files are read as they lie and sent through an acknowledged door."""
