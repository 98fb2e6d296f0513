"""What `henge doctor` looks at. Each module reads one thing about this machine or folder and judges it.

Reading touches the machine and changes nothing; judging is a pure function of what was read, so that a test can hand
in machines that it does not have.
"""
