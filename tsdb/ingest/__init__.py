"""Bytes of one protocol → columns or a counted refusal, pure; `listen` alone owns sockets."""
