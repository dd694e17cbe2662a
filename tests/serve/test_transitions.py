from msgspec import structs

from plait.config import catalog
from plait.config.meta import Origin
from plait.config.ports import Condition
from plait.config.record import Record
from plait.serve.transitions import Transitions

KEY = catalog.KINDS["VirtualService"].key("default", "reviews")
RECORD = Record(
    key=KEY,
    source="api",
    object=None,
    document={"metadata": {"uid": "first"}},
    revision=1,
    generation=1,
    origin=Origin(source="api", locator="x"),
    at=60.0,
)


def test_a_condition_has_the_time_when_its_status_changed():
    transitions = Transitions()

    def seen(status: str, now: float, at: float = 60.0) -> str:
        found = Condition(type="Accepted", status=status, reason="r", message=str(now))
        record = structs.replace(RECORD, at=at)
        return transitions.dated(record, [found], now)[0].last_transition_time

    assert seen("True", 100) == "1970-01-01T00:01:00Z"
    assert seen("False", 120) == "1970-01-01T00:02:00Z"
    assert seen("False", 180, at=170) == "1970-01-01T00:02:00Z"
    assert seen("True", 240) == "1970-01-01T00:04:00Z"


def test_an_object_that_is_made_again_does_not_keep_the_old_times():
    transitions = Transitions()
    found = [Condition(type="Accepted", status="True", reason="r", message="m")]
    again = structs.replace(RECORD, document={"metadata": {"uid": "second"}}, at=300.0)

    before = transitions.dated(RECORD, found, 100)[0].last_transition_time
    after = transitions.dated(again, found, 400)[0].last_transition_time

    assert (before, after) == ("1970-01-01T00:01:00Z", "1970-01-01T00:05:00Z")
