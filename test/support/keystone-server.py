"""Keystone, as its package installs it, on Python's own small server: keystone-server.py ADDRESS PORT CONFIG.

One line on standard error for each request, before its answer is sent: "answered: GET /v3/auth/tokens?nocatalog 200".
"""
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

address, port, config = sys.argv[1:]
# Keystone reads its own options from here
sys.argv[1:] = [f"--config-file={config}"]

from keystone.server.wsgi import initialize_public_application  # noqa: E402

keystone = initialize_public_application()


def told(environ, start_response):
    query = environ["QUERY_STRING"]
    asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{'?' if query else ''}{query}"

    def start(status, *rest):
        print(f"answered: {asked} {status.split()[0]}", file=sys.stderr, flush=True)
        return start_response(status, *rest)

    return keystone(environ, start)


class Handler(WSGIRequestHandler):
    def log_request(self, *_):
        """Said already."""


class Server(WSGIServer):
    request_queue_size = 128


make_server(address, int(port), told, Server, Handler).serve_forever()
