"""The real server for these tests: the command line's harness, plus raw connections."""
import importlib.util
import os
import sys

_spec = importlib.util.spec_from_file_location(
    "cli_harness", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli", "harness.py"))
_cli = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_cli)

from wire import Wire  # noqa: E402

Server, Case, bin_dir, environment, main = _cli.Server, _cli.Case, _cli.bin_dir, _cli.environment, _cli.main
SANITIZER = _cli.SANITIZER


def sanitized():
    """The server's memory is not its own: a sanitizer's shadow and quarantine count too."""
    with open(os.path.join(bin_dir(), "weir-server"), "rb") as f:
        code = f.read()
    return b"__asan_init" in code or b"__tsan_init" in code


class ServerCase(Case):
    """Tests that share one server."""
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def wire(self, **kw):
        w = Wire(self.server.url, **kw)
        self.addCleanup(w.close)
        return w

    def name(self):
        return self.id().rsplit(".", 1)[-1]

    def refused(self, code, fn, *args, **kw):
        """fn is refused with this code; returns the error."""
        from wire import Refused
        with self.assertRaises(Refused) as r:
            fn(*args, **kw)
        self.assertEqual(r.exception.code, code, str(r.exception))
        return r.exception


if __name__ == "__main__":
    sys.exit("not a test")
