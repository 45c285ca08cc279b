"""The image of operator and bridge, made without a daemon, without root and without running what goes into it.

    Debian packages   →  base      Python, what it links to, time zones, certificate authorities
    the runtime lock  →  packages  what Backstay imports
    this checkout     →  backstay  the program

The Dockerfile beside this makes an image of the same shape: the same three layers, paths, user and command.
"""
