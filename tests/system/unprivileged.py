"""Commands without the rights of root, whoever runs the tests."""

import os

UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.getuid() == 0 else ()
"""What comes before a command: root then is a user like any other, who may only do what file modes allow."""
