"""Building blocks by themselves: halting classifiers, gradient scaling, passes along given exits."""
