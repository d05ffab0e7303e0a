"""A local Kafka node as companies run theirs: TLS, users with passwords (SASL PLAIN and SCRAM), access rules.

Whoever is not the administrator may do nothing until an access rule (ACL) allows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from madhatter_provider.local.home import write_atomic

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

ADMIN = "admin"
_SCRAM: tuple[Mechanism, ...] = ("SCRAM-SHA-256", "SCRAM-SHA-512")

# The controller's listener is open to this machine only; its principal is ANONYMOUS.
_PROPERTIES = """sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config={plain} username="{admin}" password="{password}" {users};
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram};
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram};
ssl.keystore.type=PEM
ssl.keystore.location={key_store}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{admin};User:ANONYMOUS
"""
_PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """Certificates and users of one node.

    :param folder: certificates are made here.
    :param passwords: password by user; :data:`ADMIN` must be among them and may do everything.
    """

    folder: Path
    passwords: Mapping[str, str]
    listener: str = "SASL_SSL"

    @property
    def authority(self) -> Path:
        """Certificate of the authority that signed the node's (PEM)."""
        return self.folder / "authority.pem"

    @property
    def _key_store(self) -> Path:
        return self.folder / "node.pem"

    def client_config(self, user: str = ADMIN, mechanism: Mechanism = "PLAIN") -> dict[str, Any]:
        """Client configuration of a user, without the address."""
        return {
            "security.protocol": self.listener,
            "ssl.ca.location": str(self.authority),
            "sasl.mechanism": mechanism,
            "sasl.username": user,
            "sasl.password": self.passwords[user],
        }

    def prepare(self) -> None:
        """Make the certificates, unless they are there."""
        if not (self.authority.exists() and self._key_store.exists()):
            self.folder.mkdir(parents=True, exist_ok=True)
            authority, key_store = _certificates()
            write_atomic(self._key_store, key_store, mode=0o600)
            write_atomic(self.authority, authority)

    @property
    def properties(self) -> str:
        """What it adds to the node's configuration."""
        return _PROPERTIES.format(
            plain=_PLAIN_LOGIN, scram=_SCRAM_LOGIN, admin=ADMIN, password=self.passwords[ADMIN],
            users=" ".join(f'user_{name}="{word}"' for name, word in self.passwords.items()),
            key_store=self._key_store, authority=self.authority,
        )  # fmt: skip

    @property
    def format_options(self) -> list[str]:
        """Options of the storage tool: SCRAM users are written into the log when it is made."""
        return [
            option
            for name, word in self.passwords.items()
            for mechanism in _SCRAM
            for option in ("--add-scram", f"{mechanism}=[name={name},password={word}]")
        ]


def _certificates() -> tuple[str, str]:
    """PEM of a new authority, and of a key with a certificate of it for 127.0.0.1."""
    import trustme
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    authority = trustme.CA(organization_name="MadHatter local Kafka")
    issued = authority.issue_cert("127.0.0.1")
    key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    # Kafka reads keys in PKCS#8 only.
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    return authority.cert_pem.bytes().decode(), (pem + chain).decode()
