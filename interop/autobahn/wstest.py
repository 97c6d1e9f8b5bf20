# For Python 2.7: runs the suite from its installation folder. (`site.addsitedir` is used instead of a path,
# because zope.interface is found through a .pth file.)
import site
import sys

site.addsitedir(sys.argv[1])
# Before any package that this Python may already have.
sys.path.insert(0, sys.argv.pop(1))

from autobahntestsuite.wstest import run  # noqa: E402

run()
