"""A containerd of one's own, with its own socket, content and snapshots, and the `ctr` command for it.

Needs root. Nothing is run in it: images are only pulled, unpacked by copying, and pushed.
"""

import textwrap

from support.docker import environment
from support.server import Process
from support.suite import CommandFailed, run


class Containerd:
    """`containerd` below `directory`, without the plug-ins that would look at the machine."""

    def __init__(self, directory):
        self.directory = directory
        self.socket = directory / "sock"
        configuration = f"""
            version = 2
            root = "{directory}/root"
            state = "{directory}/state"
            disabled_plugins = [
              "io.containerd.grpc.v1.cri",
              "io.containerd.internal.v1.opt",
              "io.containerd.internal.v1.restart",
              "io.containerd.snapshotter.v1.aufs",
              "io.containerd.snapshotter.v1.btrfs",
              "io.containerd.snapshotter.v1.devmapper",
              "io.containerd.snapshotter.v1.zfs",
            ]
            [grpc]
              address = "{self.socket}"
            [ttrpc]
              address = "{self.socket}.ttrpc"
            """
        (directory / "config.toml").write_text(textwrap.dedent(configuration))
        command = ["containerd", "--config", directory / "config.toml"]
        self.process = Process(command, directory / "containerd.log", env=environment(directory))
        self.process.wait_for(self.answers, "containerd")

    def ctr(self, *arguments, **how):
        return run("ctr", "--address", self.socket, *arguments, env=environment(self.directory), **how)

    def answers(self):
        try:
            self.ctr("--connect-timeout", "2s", "version", timeout=10)
        except CommandFailed:
            return False
        return True

    def stop(self):
        self.process.stop()
