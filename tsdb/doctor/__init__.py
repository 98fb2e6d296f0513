"""What `henge doctor` looks at in the time-series room; see appliance.doctor."""
