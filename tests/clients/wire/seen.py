"""What one side saw of a message: enough to compare it, and to show where it differs."""

import hashlib
from dataclasses import dataclass


@dataclass
class Seen:
    head: bytes  # interim heads too
    body: bytes  # with its framing
    end: str  # whole | cut | left

    def described(self):
        return {
            "head": self.head.decode("latin-1"),
            "bytes": len(self.body),
            "digest": hashlib.sha256(self.body).hexdigest(),
            "start": self.body[:200].decode("latin-1"),
            "end": self.end,
        }
