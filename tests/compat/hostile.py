"""What attacks: an object whose loading leaves a trace."""

import os


class Hostile:
    """Unpickling an object of this class creates a folder."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)
