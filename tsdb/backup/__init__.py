"""Backups of a whole appliance in one sealed file: samples and state of one moment, key and settings."""
