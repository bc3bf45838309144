"""Keystone, as its package installs it, on Python's own small server: keystone-server.py ADDRESS PORT CONFIG.

One line on standard error for each request that has been answered.
"""
import sys
from wsgiref.simple_server import WSGIServer, make_server

address, port, config = sys.argv[1:]
# Keystone reads its own options from here
sys.argv[1:] = [f"--config-file={config}"]

from keystone.server.wsgi import initialize_public_application  # noqa: E402


class Server(WSGIServer):
    request_queue_size = 128


make_server(address, int(port), initialize_public_application(), Server).serve_forever()
