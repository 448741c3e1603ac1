"""interfero."""

from interfero.deferred import install

install()
