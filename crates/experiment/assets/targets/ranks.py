"""Several processes that work as one: rank 0 speaks the protocol, the others follow.

Rank 0 starts the others from the same file. A draw sends them the seed of the input, and ends when all have theirs, so
that rank 0 does not wait for them within the time. Then the others work, and wait in the first thing that all ranks do
together, which rank 0 does within the time. So nobody can be ahead of the clock.
"""

import os
import socket
import subprocess
import sys

# Multicast of NVLink stays off: it needs a fabric manager, and shared hosts forbid it.
os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
os.environ.setdefault("TORCH_SYMM_MEM_DISABLE_MULTICAST", "1")
if sys.platform == "linux":
    # All ranks are on this host, which may have no other network.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")

import workload  # first: it says so where there is no PyTorch
import torch
import torch.distributed as dist

RANKS = 2


class Ranks:
    """Starts and leads the other ranks."""

    def __init__(self, pair, device, mode, small):
        self.rank, self.device = int(os.environ.get("STOPWATT_RANK", "0")), device
        cuda = device.startswith("cuda")
        if self.rank == 0:
            if cuda and torch.cuda.device_count() < RANKS:
                raise workload.Lacks(f"it needs {RANKS} GPUs, and PyTorch sees {torch.cuda.device_count()}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            environment = os.environ | {"STOPWATT_RANK": "1", "STOPWATT_PORT": str(port)}
            environment |= {"STOPWATT_MODE": mode, "STOPWATT_SMALL": str(int(small))}
            other = "cuda:1" if cuda else "cpu"
            words = [sys.executable, sys.argv[0], "--device", other]
            # It ends when this process does: its standard input closes.
            self.other = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=sys.stderr)
        else:
            port = int(os.environ["STOPWATT_PORT"])
        store = dist.TCPStore("127.0.0.1", port, RANKS, is_master=self.rank == 0)
        backend = "nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=RANKS)
        self.control = dist.new_group(backend="gloo")
        self.sum(torch.ones(1, device=device))

    def sum(self, x):
        dist.all_reduce(x)
        return x

    def lead(self, generator):
        """Tells the others which input is next."""
        dist.broadcast_object_list([generator.initial_seed()], src=0, group=self.control)

    def ready(self):
        """All ranks have their input."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        dist.barrier(group=self.control)

    def follow(self, pair):
        """Another rank, until rank 0 is gone."""
        while True:
            said = [None]
            try:
                dist.broadcast_object_list(said, src=0, group=self.control)
            except RuntimeError:
                return
            pair.draw(torch.Generator(device=self.device).manual_seed(said[0]))
            pair.work()


def main(pair_class):
    """As `workload.main`, for pairs that have `ranks` after set-up, `None` on a side of one device."""
    if os.environ.get("STOPWATT_RANK") != "1":
        return workload.main(pair_class)
    device = sys.argv[sys.argv.index("--device") + 1]
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    pair = pair_class()
    with torch.no_grad():
        pair.set_up(device, os.environ["STOPWATT_MODE"], os.environ["STOPWATT_SMALL"] == "1")
        pair.ranks.follow(pair)
    # Threads of the process group must not hold the end up.
    os._exit(0)
