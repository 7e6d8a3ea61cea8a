"""A client of TrustStram's federated learning."""

from .client import Client, Over, Refused
from .codec import encode

__all__ = ["Client", "Over", "Refused", "encode"]
