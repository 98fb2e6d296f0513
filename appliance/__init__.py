"""The ground floor: processes, messages, state, time, settings. It knows nothing of monitoring."""
