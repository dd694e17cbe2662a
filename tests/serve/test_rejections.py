from typing import Any

from plait.config.kinds.observed import Rejection
from plait.serve import rejections
from plait.serve.rejections import Case, Part, Verdict
from plait.xds.resource import CLUSTER, ROUTES, Resource, leaf
from tests.support.delivery import child, table


class Search:
    """An Envoy that refuses bad children, and the rows that keep them from it."""

    def __init__(self, good: Resource | None, *bad: str, text: str = "invalid") -> None:
        self.cases: tuple[Case, ...] = ()
        self.rows: dict[str, Rejection] = {}
        self.responses = 0
        self._accepted = good
        self._bad = bad
        self._text = text

    def send(self, wanted: Resource) -> None:
        """Send the table as it may be sent, and its successors, until it is quiet."""
        last = None
        while (sent := self._admitted(wanted)).version != last and self.responses < 50:
            last = sent.version
            self.responses += 1
            bad = any(c.name in self._bad and "503" not in str(c.body) for c in sent.children)
            bad = any(c.digest in self._digests(wanted) for c in sent.children) and bad
            verdict = Verdict(
                proxy="p",
                type_url=ROUTES,
                parts=(Part(resource=sent, accepted=self._accepted),),
                error=self._text if bad else None,
            )
            self.cases, rows = rejections.step(self.cases, verdict, self.rows)
            for digest, row in rows.items():
                if row is None:
                    self.rows.pop(digest)
                else:
                    self.rows[digest] = row
            if not bad:
                self._accepted = sent

    def _digests(self, wanted: Resource) -> set[str]:
        return {c.digest for c in wanted.children if c.name in self._bad}

    def _admitted(self, wanted: Resource) -> Resource:
        hosts = []
        for one in wanted.children:
            row = self.rows.get(one.digest)
            if row is None:
                hosts.append(f"{one.name}={_text(wanted, one.name)}")
            elif row.accepted is not None:
                hosts.append(f"{one.name}=1")
            else:
                hosts.append(f"{one.name}=503")
        return table(wanted.name, *hosts)

    def verdicts(self) -> dict[str, tuple[bool, bool]]:
        """Children held back: whether still a suspect, and whether with something accepted."""
        return {r.name: (r.suspect, r.accepted is not None) for r in self.rows.values()}


def _text(wanted: Resource, name: str) -> str:
    [found] = [c for c in wanted.children if c.name == name]
    return "2" if found.digest == child(name, "2").digest else "1"


def hosts(count: int, text: str) -> list[str]:
    return [f"h{number}={text}" for number in range(count)]


def refusal(error: str, *parts: Part, type_url: str = ROUTES) -> Verdict:
    return Verdict(proxy="p", type_url=type_url, parts=parts, error=error, at=5.0)


def names(found: Any) -> list[str]:
    return [suspect.child.name for suspect in found]


def test_the_only_changed_child_is_rejected_with_its_last_accepted_bytes():
    before, after = table("80", "a=1", "b=1"), table("80", "a=1", "b=2")

    _, rows = rejections.step((), refusal("no", Part(resource=after, accepted=before)), {})

    [row] = rows.values()
    assert row is not None
    assert (row.name, row.accepted, row.error) == ("b", child("b", "1").body, "no")
    assert not row.suspect


def test_the_child_that_the_text_names_is_rejected_among_many():
    before, after = table("80", *hosts(9, "1")), table("80", *hosts(9, "2"))
    verdict = refusal("bad virtual host h3: no", Part(resource=after, accepted=before))

    assert names(rejections.blame(verdict, {})) == ["h3"]


def test_a_name_within_a_longer_name_is_not_meant():
    parts = Part(resource=table("80", "a.demo=2", "a.demo.svc=2"), accepted=None)

    assert names(rejections.blame(refusal("in a.demo.svc: no", parts), {})) == ["a.demo.svc"]


def test_a_child_is_named_by_its_place():
    parts = Part(resource=table("80", *hosts(4, "2")), accepted=None)
    text = "RouteConfigurationValidationError.VirtualHosts[2]: embedded message failed"

    assert names(rejections.blame(refusal(text, parts), {})) == ["h2"]


def test_the_cluster_that_the_text_names_is_rejected():
    parts = [Part(resource=leaf(CLUSTER, child(n, "2")), accepted=None) for n in ("x|1", "x|12")]
    text = "Error adding/updating cluster(s) x|12: bad"

    found = rejections.blame(refusal(text, *parts, type_url=CLUSTER), {})

    assert names(found) == ["x|12"]


def test_a_fault_of_the_machine_is_nobodys():
    parts = Part(resource=table("80", "a=2"), accepted=None)
    text = "error adding listener: cannot bind '0.0.0.0:80': Permission denied"

    assert rejections.blame(refusal(text, parts), {}) == ()


def test_a_table_whose_frame_is_refused_rejects_no_child():
    before, after = table("80", "a=1"), table("80", "a=1")

    _, rows = rejections.step((), refusal("no", Part(resource=after, accepted=before)), {})

    assert rows == {}


def test_the_culprit_is_found_among_many_and_the_others_change():
    search = Search(table("80", *hosts(16, "1")), "h11")

    search.send(table("80", *hosts(16, "2")))

    assert search.verdicts() == {"h11": (False, True)}
    assert search.cases == ()
    assert search.responses <= 20


def test_two_culprits_are_found():
    search = Search(table("80", *hosts(8, "1")), "h1", "h6")

    search.send(table("80", *hosts(8, "2")))

    assert search.verdicts() == {"h1": (False, True), "h6": (False, True)}


def test_a_fresh_proxy_gets_stand_ins_for_what_it_refuses():
    search = Search(None, "h2")

    search.send(table("80", *hosts(5, "2")))

    assert search.verdicts() == {"h2": (False, False)}


def test_a_refusal_of_what_is_held_back_already_changes_nothing():
    after = table("80", "a=2")
    verdict = refusal("no", Part(resource=after, accepted=None))
    _, rows = rejections.step((), verdict, {})

    assert rejections.step((), verdict, rows) == ((), {})


def test_suspects_that_do_not_occur_any_more_are_let_go():
    part = Part(resource=table("80", "a=2", "b=2"), accepted=None)
    cases, held = rejections.step((), refusal("no", part), {})

    cases, rows = rejections.pruned(cases, lambda _: False)

    assert cases == ()
    assert rows == dict.fromkeys(held)
