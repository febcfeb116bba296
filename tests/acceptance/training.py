"""What a lab's training does: eight loader processes, a compiled model, and a checkpoint when it is told to stop."""

import os
import signal
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

CHECKPOINT = "/output/checkpoint.pt"
WORKERS = 8


class Pictures(Dataset):
    """Noise in the size of pictures, with the number of the process that drew it."""

    def __len__(self):
        return 512

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return torch.rand(3, 64, 64, generator=generator), get_worker_info().id


class Training:
    """Trains until it is told to stop."""

    def __init__(self):
        self.told_to_stop = False
        signal.signal(signal.SIGTERM, self.stop)
        self.model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 62 * 62, 10))
        self.compiled = torch.compile(self.model)
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.01)

    def stop(self, *_):
        self.told_to_stop = True

    def step(self, pictures):
        self.optimiser.zero_grad()
        loss = self.compiled(pictures).square().mean()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def run(self):
        loader = DataLoader(Pictures(), batch_size=32, num_workers=WORKERS, persistent_workers=True)
        begun, epoch = time.monotonic(), 0
        while not self.told_to_stop:
            seen = set()
            for pictures, workers in loader:
                loss = self.step(pictures)
                seen.update(workers.tolist())
                if self.told_to_stop:
                    break
            epoch += 1
            print(
                f"epoch {epoch} loss {loss:.4f} loaders {len(seen)} after {time.monotonic() - begun:.1f} s", flush=True
            )
        torch.save({"epoch": epoch, "model": self.model.state_dict()}, CHECKPOINT)
        print("saved", flush=True)


shm = os.statvfs("/dev/shm")
print(f"torch {torch.__version__}, uid {os.getuid()}, shm {shm.f_blocks * shm.f_frsize >> 20} MiB", flush=True)
Training().run()
sys.exit(0)
