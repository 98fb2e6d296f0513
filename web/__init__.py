"""The room of pages and HTTP interfaces. It decides nothing about checks or samples; it asks the rooms below."""
