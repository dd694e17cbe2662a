"""kubectl's JSONPath, compared with what kubectl prints for the same object."""

from __future__ import annotations

import re

import click
import pytest

from plait.ui.cli.jsonpath import render

PODS = {
    "kind": "List",
    "items": [
        {
            "kind": "Pod",
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "web"}},
            "spec": {"containers": [{"name": "x", "ports": [80, 443]}, {"name": "y"}]},
            "ready": True,
            "restarts": 3,
        },
        {"kind": "Pod", "metadata": {"name": "b", "labels": {}}, "ready": False, "restarts": 0},
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{.kind}", "List"),
        ("kind", "kind"),
        ("kind is {.kind}!", "kind is List!"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.name}", "a"),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[0:1].metadata.name}", "a"),
        ("{$.items[1].metadata.name}", "b"),
        ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "web"),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "web"),
        ('{.items[?(@.metadata.name=="b")].restarts}', "0"),
        ("{.items[?(@.restarts>1)].metadata.name}", "a"),
        ("{.items[?(@.ready==true)].metadata.name}", "a"),
        ("{.items[?(@.spec)].metadata.name}", "a"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.restarts}{"\\n"}{end}', "a\t3\nb\t0\n"),
        ("{.items[*].ready}", "true false"),
        ("{.items[0].spec.containers[0].ports}", "[80,443]"),
        ("{..name}", "a x y b"),
        ("{.missing}", ""),
        ("{.items[*]['kind', 'ready']}", "Pod Pod true false"),
        ("{.items[0,1].metadata.name}", "a b"),
        ("{.items[::2].metadata.name}", "a"),
        ("{.items[0:2:1].metadata.name}", "a b"),
        ("{.items[0:-1].metadata.name}", "a"),
        ("{.items[2:].metadata.name}", ""),
        (r"""{"a\"b"}{'c\'d'}{"\\"}""", "a\"bc'd\\"),
        (r"a\tb", r"a\tb"),
        ("{.items[?(@.spec.containers[0].name)].metadata.name}", "a"),
        ("{.missing[3].name}", ""),
    ],
)
def test_a_template_prints_what_it_selects(template: str, expected: str):
    assert expected == render(template, PODS)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{.a", "not closed"),
        ("{.a[}", "cannot read"),
        ("{range .items[*]}{.a}", "without {end}"),
        ("{end}", "without {range}"),
        ("{.items[]}", "cannot read"),
        ("{.items[-]}", "cannot read"),
        ("{.items[2].kind}", "there is no index 2 in a list of 2"),
        ("{.items[-3].kind}", "there is no index -1 in a list of 2"),
        ("{.items[0:9].kind}", "there is no index 9"),
        ("{.items[0:2:0].kind}", "never ends"),
        ("{.kind[0]}", "not from 'List'"),
        ("{.items[0].kind,.kind}", "cannot read"),
    ],
)
def test_what_cannot_be_read_is_said(template: str, said: str):
    with pytest.raises(click.ClickException, match=re.escape(said)):
        render(template, PODS)
