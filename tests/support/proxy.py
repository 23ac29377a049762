"""A TCP relay in front of a server that breaks connections off, as a bad line does."""

import socket
import threading


class CuttingProxy:
    """Relays to `host`. Once, a connection is broken off after `after` bytes of answers; all others pass whole.

    Used as a context manager; `host` is then the address to connect to.
    """

    def __init__(self, host, after):
        name, port = host.split(":")
        self.target = (name, int(port))
        self.after = after
        self.broke = False
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
            except OSError:
                return
            threading.Thread(target=self.relay, args=(client, server), daemon=True).start()
            threading.Thread(target=self.answer, args=(server, client), daemon=True).start()

    def relay(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()

    def answer(self, server, client):
        passed = 0
        try:
            while data := server.recv(1 << 16):
                passed += len(data)
                if passed > self.after and self.cut():
                    client.sendall(data[: len(data) - (passed - self.after)])
                    break
                client.sendall(data)
        except OSError:
            pass
        for end in (client, server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def cut(self):
        """Whether this connection is the one to break off: the first that asks."""
        with self.lock:
            first, self.broke = not self.broke, True
            return first
