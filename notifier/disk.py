"""Disks: free space, and files that survive a power cut."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Space on a folder's disk that this user may still fill. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
