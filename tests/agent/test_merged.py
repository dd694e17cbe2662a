"""Metrics of several programs as one page."""

from __future__ import annotations

import pytest

from plait.agent.merged import merged


def test_samples_of_one_metric_stand_together_below_one_line_that_says_what_it_is():
    page = merged(
        [
            '# HELP up Is up.\n# TYPE up gauge\nup{of="a"} 1\n# TYPE b counter\nb 2\n',
            '# TYPE up gauge\nup{of="b"} 0\n',
        ]
    )

    assert page.splitlines() == [
        "# HELP up Is up.",
        "# TYPE up gauge",
        'up{of="a"} 1',
        'up{of="b"} 0',
        "# TYPE b counter",
        "b 2",
    ]


def test_parts_of_a_histogram_stay_with_it():
    lines = ["# TYPE t histogram", 't_bucket{le="1"} 1', "t_sum 0.5", "t_count 1"]

    assert merged(["\n".join(lines), "# TYPE u gauge\nu 1", "t_count 2"]).splitlines() == [
        *lines,
        "t_count 2",
        "# TYPE u gauge",
        "u 1",
    ]


@pytest.mark.parametrize("page", ["", "\n", "   \n", "# EOF\n", "# just words\n"])
def test_of_what_holds_no_sample_nothing_is_left(page: str):
    assert merged([page, "a 1\n", page]) == "a 1\n"
    assert merged([page]) == ""


def test_values_of_labels_are_left_as_they_are():
    line = 'a{of="x\u2028y {z} # w"} 1 1700000000'
    quoted = '{"of.many.parts",b="1"} 2'

    assert merged([f"{line}\r\n{quoted}\n"]).split("\n") == [line, quoted, ""]
