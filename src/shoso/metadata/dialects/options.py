"""How a database that is a server is connected to: MLflow's variables, and one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shoso.core.options import Setting, boolean, from_environment, one_of, seconds, text, whole

SETTING = "--backend-store-uri"
REPLICA = "--read-replica-backend-store-uri"


def _size(value: str) -> int:
    if (size := whole(value)) < 1:
        raise ValueError(f"{value} is not a number of connections; use 1 or more")
    return size


def _overflow(value: str) -> int:
    if (size := whole(value)) < 0:
        raise ValueError(f"{value} is not a number of connections; use 0 or more")
    return size


def _age(value: str) -> int:
    if (age := whole(value)) < 1:
        raise ValueError(f"{value} is not an age in seconds; use 1 or more")
    return age


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "pool_size",
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE",
        _size,
        8,
        "Connections to the database that each server process keeps, for reads and writes together.",
    ),
    Setting(
        "max_overflow",
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW",
        _overflow,
        0,
        "Connections that a process opens beyond those for reads while it has many, and closes again.",
    ),
    Setting(
        "pool_recycle",
        "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE",
        _age,
        1800,
        "Seconds after which a connection is replaced before it is used again.",
    ),
    Setting(
        "pool_class",
        "MLFLOW_SQLALCHEMYSTORE_POOLCLASS",
        one_of("QueuePool", "NullPool"),
        "QueuePool",
        "QueuePool keeps connections; NullPool opens one for each piece of work, and prepares no statements,"
        " for a pooler like PgBouncer in between.",
    ),
    Setting(
        "echo",
        "MLFLOW_SQLALCHEMYSTORE_ECHO",
        boolean,
        False,
        "Log every statement, without its values.",
    ),
    Setting(
        "timeout",
        "SHOSO_DATABASE_TIMEOUT",
        seconds,
        60.0,
        "Seconds after which a database that is a server gives up a statement.",
    ),
    Setting(
        "ssl_ca",
        "MLFLOW_MYSQL_SSL_CA",
        text,
        "",
        "The file of the authority that signed MySQL's certificate.",
    ),
    Setting("ssl_cert", "MLFLOW_MYSQL_SSL_CERT", text, "", "The file of the certificate shown to MySQL."),
    Setting("ssl_key", "MLFLOW_MYSQL_SSL_KEY", text, "", "The file of that certificate's key."),
)


@dataclass(frozen=True, slots=True)
class Options:
    """The settings above, by field."""

    pool_size: int = 8
    max_overflow: int = 0
    pool_recycle: int = 1800
    pool_class: str = "QueuePool"
    echo: bool = False
    timeout: float = 60.0
    ssl_ca: str = ""
    ssl_cert: str = ""
    ssl_key: str = ""

    @property
    def writers(self) -> int:
        """Connections that write: half of all, four at most, and one in any case."""
        return max(1, min(4, (self.pool_size + self.max_overflow) // 2))

    @property
    def readers(self) -> int:
        """Connections that may read at once: the others."""
        return max(1, self.pool_size + self.max_overflow - self.writers)


def read_options(environment: Mapping[str, str]) -> Options:
    """The options that the environment has. Raises ConfigError."""
    return Options(**from_environment(SETTINGS, environment))
