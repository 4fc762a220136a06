"""pytest stops before the first test: ``mutable default <class 'hydra.conf....'>``.

Concerns: hydra-core 1.0, which comes with a plugin for pytest. pytest loads the modules of such a
package itself, past all other finders, so that the mends for hydra are not applied.
No longer needed when: no module of a package with a pytest plugin is in need of a mend.
"""

import functools

from .hooks import is_mended

MODULES = ("_pytest.assertion.rewrite",)


def after(module):
    """Have pytest leave the modules that are mended to the finder that mends them."""
    hook = module.AssertionRewritingHook
    original = hook.find_spec

    @functools.wraps(original)
    def find_spec(self, name, path=None, target=None):
        return None if is_mended(name) else original(self, name, path, target)

    hook.find_spec = find_spec
