"""Redis Cluster: one endpoint, and one circuit, for each master."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any, cast

from redis.cluster import ClusterNode, RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import (
    AskError,
    MovedError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)

from perfguard.conf import conf
from perfguard.exceptions import RedisUnavailable
from perfguard.redis.breaker import Circuit
from perfguard.redis.endpoint import Endpoint
from perfguard.redis.era import Reading
from perfguard.redis.scripts import Script

REDIRECTIONS = 5  # followed by one call, as redis-py's own default allows
FRESH = 0.05  # seconds during which a map of the slots is not asked for again


class Cluster:
    """The slot map is redis-py's; the calls go by the endpoints' own connections."""

    one_slot = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._url = url
        self._options = options
        self._lock = threading.Lock()
        self._first = threading.Lock()
        self._cluster: RedisCluster | None = None
        self._endpoints: dict[str, Endpoint] = {}
        self._moved: dict[int, str] = {}  # slot to node, since the map was asked for
        self._mapped_at = 0.0
        # Open while not even the map of the slots can be had.
        self._map_circuit = Circuit("cluster", self._look, conf.REDIS_PROBE_INTERVAL)

    def is_away(self, identity: str) -> bool:
        if self._cluster is None:
            return self._map_circuit.is_open
        endpoint = self._endpoint(identity)
        if endpoint is None:
            # The probe asks for the map again: somebody may own the slot by then.
            self._map_circuit.open(RedisUnavailable("a slot has no master"))
            return True
        return endpoint.circuit.is_open

    def call(self, identity: str, script: Script, command: bytes) -> Any:
        """As ``Endpoint.call``, on the master of the identity's slot."""
        return self._on_master(identity, "call", script, command)

    def read(self, identity: str, command: bytes) -> Reading:
        return cast("Reading", self._on_master(identity, "read", command))

    def _on_master(self, identity: str, method: str, *args: Any) -> Any:
        if self._cluster is None:
            self._first_map()
        endpoint, asking = self._endpoint(identity), False
        for _ in range(REDIRECTIONS):
            if endpoint is None:
                break
            try:
                return getattr(endpoint, method)(*args, asking=asking)
            except MovedError as error:
                # Only the node that says so is sure to know: the others hear of it
                # by gossip, so that a map asked for now might still be the old one.
                name = f"{error.host}:{error.port}"
                self._moved[error.slot_id] = name
                endpoint, asking = self._met(name), False
            except AskError as error:
                endpoint, asking = self._met(f"{error.host}:{error.port}"), True
            except TryAgainError as error:
                # Some keys have moved and some have not: it takes the operator's
                # tool as long as it takes, and a request cannot wait for that.
                raise RedisUnavailable(str(error)) from error
        raise RedisUnavailable(f"No master was found for the slot of {identity!r}.")

    def endpoints(self) -> list[Endpoint]:
        return list(self._endpoints.values())

    def away(self) -> list[str]:
        away = [self._map_circuit.server] if self._map_circuit.is_open else []
        return away + [e.circuit.server for e in self.endpoints() if not e.check()]

    def close(self) -> None:
        self._map_circuit.end()
        for endpoint in self.endpoints():
            endpoint.close()
        if self._cluster is not None:
            self._cluster.close()

    def _first_map(self) -> None:
        with self._first:  # one asks, and the others take its answer
            if self._map_circuit.is_open:
                raise RedisUnavailable("The map of the slots cannot be had.")
            try:
                self._discover()
            except RedisUnavailable as error:
                self._map_circuit.open(error)
                raise

    def _look(self) -> None:
        if self._cluster is None:
            self._discover()
        else:
            self._remap()

    def _discover(self) -> None:
        with self._lock:
            if self._cluster is not None:
                return
            try:
                self._cluster = RedisCluster.from_url(self._url, **self._options)
            except (RedisError, RedisClusterException, OSError) as error:
                raise RedisUnavailable(str(error)) from error
            self._mapped_at = time.monotonic()

    def _remap(self) -> None:
        asked_at = time.monotonic()
        with self._lock:
            # Of the threads that were sent away at once, one asks for the map.
            if self._cluster is None or self._mapped_at > asked_at - FRESH:
                return
            try:
                self._cluster.nodes_manager.initialize()
            except (RedisError, RedisClusterException, OSError) as error:
                raise RedisUnavailable(str(error)) from error
            self._moved.clear()
            self._mapped_at = time.monotonic()

    def _endpoint(self, identity: str) -> Endpoint | None:
        cluster = self._cluster
        if cluster is None:
            return None
        slot = key_slot(identity.encode(errors="surrogatepass"))
        if slot in self._moved:
            return self._named(self._moved[slot])
        nodes = cluster.nodes_manager.slots_cache.get(slot)
        return self._named(nodes[0].name) if nodes else None

    def _met(self, name: str) -> Endpoint | None:
        """The endpoint of a node that may have joined since the map was asked for."""
        endpoint = self._named(name)
        if endpoint is None:
            self._remap()
            endpoint = self._named(name)
        return endpoint

    def _named(self, name: str) -> Endpoint | None:
        endpoint = self._endpoints.get(name)
        if endpoint is None and self._cluster is not None:
            node = self._cluster.get_node(node_name=name)
            if node is not None:
                endpoint = self._make(node)
        return endpoint

    def _make(self, node: ClusterNode) -> Endpoint:
        assert self._cluster is not None
        pool = self._cluster.get_redis_connection(node).connection_pool
        with self._lock:
            if node.name not in self._endpoints:
                self._endpoints[node.name] = Endpoint(
                    node.name,
                    pool,
                    probe_key=self._probe_key(node.name),
                    interval=conf.REDIS_PROBE_INTERVAL,
                    refresh=partial(self._retire, node.name),
                )
            return self._endpoints[node.name]

    def _retire(self, name: str) -> None:
        """Before each probe of a master that is away: has another taken over?"""
        self._remap()
        if name not in self._masters():
            with self._lock:
                endpoint = self._endpoints.pop(name, None)
            if endpoint is not None:
                endpoint.close()

    def _masters(self) -> set[str]:
        assert self._cluster is not None
        return {each.name for each in self._cluster.get_primaries()}

    def _probe_key(self, name: str) -> bytes:
        """A key in one of the node's own slots, so that a probe really writes."""
        assert self._cluster is not None
        slots = self._cluster.nodes_manager.slots_cache
        for number in range(REDIS_CLUSTER_HASH_SLOTS):
            nodes = slots.get(key_slot(b"%d" % number))
            if nodes and nodes[0].name == name:
                return b"%b:{%d}:probe" % (conf.REDIS_KEY_PREFIX.encode(), number)
        return b"%b:probe" % conf.REDIS_KEY_PREFIX.encode()
