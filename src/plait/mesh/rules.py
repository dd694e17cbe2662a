"""Which DestinationRules apply to a host for whom, and what they say together."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, structs

from plait.base.query import Query
from plait.config import names
from plait.config.kinds import destination_rule as kinds
from plait.config.meta import Key, Object
from plait.mesh import ir, scopes, visibility, workloads
from plait.mesh.workloads import Pairs

TABLE = "DestinationRule"

_BALANCES = {
    kinds.SimpleLB.ROUND_ROBIN: ir.Balance.ROUND_ROBIN,
    kinds.SimpleLB.RANDOM: ir.Balance.RANDOM,
    kinds.SimpleLB.PASSTHROUGH: ir.Balance.ORIGINAL,
}


class Rule(Struct, frozen=True, kw_only=True):
    """What decides where a DestinationRule applies; what it says is not here.

    Attributes:
        host: in full, or a wildcard.
        exports: namespaces of the callers that it is for; ``*``: all.
        selects: it is for callers that it selects alone.
    """

    key: Key
    created: float
    host: str
    exports: tuple[str, ...]
    selects: bool = False

    def serves(self, namespace: str, selected: tuple[Key, ...]) -> bool:
        """Whether callers in `namespace` may use it, who are selected by the rules `selected`."""
        exported = names.EVERYWHERE in self.exports or namespace in self.exports
        return exported and (not self.selects or self.key in selected)


class Place(Struct, frozen=True, kw_only=True):
    """A field of a rule; `selects`: that is for callers that it selects alone."""

    key: Key
    path: str
    selects: bool = False


class Policy(Struct, frozen=True, kw_only=True):
    """How a host or subset is called; None: not said.

    Attributes:
        connect_timeout: seconds.
        pooled: a ``connectionPool`` is written; what it leaves out is as by default.
        tls_by: where `tls` is written.
        ports: what is said of single ports instead, by number.
    """

    balance: ir.Balance | None = None
    connect_timeout: float | None = None
    pooled: bool = False
    tls: kinds.ClientTLSSettings | None = None
    tls_by: Place | None = None
    ports: tuple[tuple[int, Policy], ...] = ()


class Merged(Struct, frozen=True, kw_only=True):
    """What several rules for one host say together.

    Attributes:
        policy: of the host; what a subset does not say is taken from it.
        subsets: name → labels and the subset's own policy.
        spoken: some rule has a policy for the whole host.
    """

    policy: Policy = Policy()
    subsets: tuple[tuple[str, Pairs, Policy], ...] = ()
    spoken: bool = False


# Lookup


def rule(q: Query, key: Key) -> Rule | None:
    """Where the DestinationRule `key` applies; None: there is none."""
    found: Object[kinds.DestinationRule] | None = q.row(TABLE, key)
    if found is None:
        return None
    written = found.spec.export_to or q(exported_by_default)
    return Rule(
        key=key,
        created=found.created,
        host=names.resolve(found.spec.host, key.namespace),
        exports=names.exports(written, key.namespace),
        selects=found.spec.workload_selector is not None,
    )


def selector(q: Query, key: Key) -> Pairs | None:
    """Labels of the workloads that a rule is for; None: it is for all, or there is none."""
    found: Object[kinds.DestinationRule] | None = q.row(TABLE, key)
    chosen_by = found.spec.workload_selector if found else None
    return None if chosen_by is None else workloads.pairs(chosen_by.match_labels)


def exported_by_default(q: Query) -> tuple[str, ...]:
    """``exportTo`` of the DestinationRules that say nothing."""
    return q(scopes.mesh_settings).default_destination_rule_export_to


def about(q: Query, host: str) -> tuple[Rule, ...]:
    """Rules that may apply to `host`: its own name first, then wildcards, the longer first.

    Rules of equal hosts are in order of age.
    """
    above = host.removeprefix("*.").partition(".")[2] if host != "*" else ""
    wider = f"*.{above}" if above else "*"
    if host == "*":
        return _written_for(q, host)
    return (*_written_for(q, host), *q(about, wider))


def _written_for(q: Query, host: str) -> tuple[Rule, ...]:
    tried = [q.attempt(rule, key) for key in q.keys(TABLE, "host", host)]
    found = [one for one in tried if isinstance(one, Rule)]
    return tuple(sorted(found, key=lambda one: (one.created, one.key)))


def rules_for(
    q: Query, host: str, namespace: str, client: str, selected: tuple[Key, ...] = ()
) -> tuple[Key, ...]:
    """DestinationRules in force for callers in namespace `client` of `host` in `namespace`.

    The first of these namespaces that has one decides: the client's, the host's, the root (Istio's
    rule); in it, the most specific host.  Several rules for that host are merged: those that select
    the caller (`selected`) first, then oldest first.
    """
    more = q(partial, host) if q.keys(TABLE, "host", names.PARTIAL) else ()
    return chosen(_specific(q(about, host), more), namespace, client, selected)


def partial(q: Query, host: str) -> tuple[Rule, ...]:
    """Rules whose host is a wildcard in a label that covers `host`, in order of age."""
    return tuple(one for one in _written_for(q, names.PARTIAL) if names.matches(one.host, host))


def _specific(whole: tuple[Rule, ...], partial: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """All of them, the longer wildcard first; equals stay in their order."""
    if not partial:
        return whole
    every = {one.key: one for one in (*whole, *partial)}.values()
    return tuple(sorted(every, key=lambda one: (one.host.startswith("*"), -len(one.host))))


def chosen(
    found: Iterable[Rule], namespace: str, client: str, selected: tuple[Key, ...] = ()
) -> tuple[Key, ...]:
    """The same, of the rules that `about` found."""
    rules = [one for one in found if one.serves(client, selected)]
    first = (client,) if client != names.ROOT_NAMESPACE else ()
    for place in (*first, namespace, names.ROOT_NAMESPACE):
        here = [one for one in rules if one.key.namespace == place]
        if here:
            same = [one for one in here if one.host == here[0].host]
            return tuple(one.key for one in sorted(same, key=lambda one: not one.selects))
    return ()


def client(q: Query, namespace: str) -> str:
    """`namespace` if callers there may be under other rules than a stranger, else empty.

    So that views of many namespaces can share what they have in common.
    """
    for key in q.keys(TABLE, "namespace", namespace):
        found = q(rule, key)
        if found and (found.exports != (names.EVERYWHERE,) or not _is_own(q, found)):
            return namespace
    restricted = q.keys(TABLE, "export", namespace)
    open_by_default = names.EVERYWHERE in q(exported_by_default)
    return namespace if restricted or not open_by_default else ""


def _is_own(q: Query, found: Rule) -> bool:
    """Whether a rule is about hosts that stand in its own namespace alone."""
    if found.host.startswith("*") or not found.host.endswith(
        f".{found.key.namespace}.svc.{names.DOMAIN}"
    ):
        return False
    owners = (key for table in visibility.OWNERS for key in q.keys(table, "host", found.host))
    return all(key.namespace == found.key.namespace for key in owners)


# What they say


def merged(q: Query, keys: tuple[Key, ...]) -> Merged:
    """What rules say together: the older one's subset and policy win, the other fills in."""
    policy, spoken = Policy(), False
    subsets: dict[str, tuple[str, Pairs, Policy]] = {}
    for key in keys:
        found: Object[kinds.DestinationRule] | None = q.row(TABLE, key)
        if found is None:
            continue
        selects = found.spec.workload_selector is not None
        if not spoken and found.spec.traffic_policy is not None:
            place = Place(key=key, path="spec.trafficPolicy", selects=selects)
            policy, spoken = _policy(found.spec.traffic_policy, place), True
        for i, one in enumerate(found.spec.subsets):
            place = Place(key=key, path=f"spec.subsets[{i}].trafficPolicy", selects=selects)
            own = (one.name, workloads.pairs(one.labels), _policy(one.traffic_policy, place))
            subsets.setdefault(one.name, own)
    return Merged(policy=policy, subsets=tuple(subsets.values()), spoken=spoken)


def _policy(written: kinds.TrafficPolicy | None, place: Place) -> Policy:
    if written is None:
        return Policy()
    ports = tuple(
        (one.port.number, _blocks(one, _below(place, f"portLevelSettings[{i}]")))
        for i, one in enumerate(written.port_level_settings)
        if one.port
    )
    return structs.replace(_blocks(written, place), ports=ports)


def _below(place: Place, field: str) -> Place:
    return structs.replace(place, path=f"{place.path}.{field}")


def _blocks(written: kinds.TrafficPolicy | kinds.PortTrafficPolicy, place: Place) -> Policy:
    """What is written; a block counts as a whole, whatever it leaves out."""
    balance = None
    if (balancer := written.load_balancer) is not None:
        simple = balancer.simple or kinds.SimpleLB.UNSPECIFIED
        balance = _BALANCES.get(simple, ir.Balance.LEAST_REQUEST)
    pool = written.connection_pool
    tcp = pool.tcp if pool else None
    return Policy(
        balance=balance,
        connect_timeout=tcp.connect_timeout if tcp else None,
        pooled=pool is not None,
        tls=written.tls,
        tls_by=_below(place, "tls") if written.tls else None,
    )


def subset_names(q: Query, keys: tuple[Key, ...]) -> tuple[str, ...]:
    """Names of the subsets, in the order written."""
    return tuple(name for name, _, _ in q(merged, keys).subsets) if keys else ()


def subset_labels(q: Query, keys: tuple[Key, ...], name: str) -> Pairs | None:
    """Labels of a subset's endpoints; of no subset: none; None: there is no such subset."""
    if not name:
        return ()
    return next((labels for found, labels, _ in q(merged, keys).subsets if found == name), None)


def policy(q: Query, keys: tuple[Key, ...], name: str, port: int) -> Policy:
    """Policy of a subset on a port, block by block from the host's where it has none.

    A block that is there is not looked through for what it leaves out (Istio's rule).
    What is said of a single port replaces everything that is said of all (Istio's rule).
    """
    if not keys:
        return Policy()
    found = q(merged, keys)
    own = next((one for subset, _, one in found.subsets if subset == name), Policy())
    if (single := dict(own.ports).get(port)) is not None:
        return single
    base = dict(found.policy.ports).get(port, found.policy)
    pool = own if own.pooled else base
    return Policy(
        balance=own.balance or base.balance,
        connect_timeout=pool.connect_timeout,
        pooled=pool.pooled,
        tls=own.tls or base.tls,
        tls_by=own.tls_by or base.tls_by,
    )


def written_tls(q: Query, keys: tuple[Key, ...]) -> tuple[Policy, ...]:
    """What rules say of TLS together: of the host, its subsets and single ports, in this order."""
    found = q(merged, keys)
    wholes = (found.policy, *(own for _, _, own in found.subsets))
    every = (one for whole in wholes for one in (whole, *(single for _, single in whole.ports)))
    return tuple(one for one in every if one.tls is not None)


def any_names_secrets(q: Query) -> bool:
    """Whether any rule names a Secret."""
    return bool(q.keys(TABLE, "credential", True))  # noqa: FBT003 - the one bucket


def names_secrets(q: Query, key: Key) -> bool:
    """Whether a rule names a Secret."""
    found = (one.tls for one in q(written_tls, (key,)))
    return any(one is not None and one.credential_name for one in found)


def origin(q: Query, keys: tuple[Key, ...], name: str) -> tuple[Key, ...]:
    """The rules that a cluster was made from: all for a subset, else if one has a policy."""
    return keys if name or (keys and q(merged, keys).spoken) else ()
