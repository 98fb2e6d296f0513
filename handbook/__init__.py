"""The docs as a site: the pages of docs/, a reference made from the code, and the build that joins them.

Only for building: no process of the appliance imports it, and no package holds it.
"""
