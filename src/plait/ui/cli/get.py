"""``plait get``: list and show objects."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from plait.ui.cli import common, output, watching
from plait.ui.cli.client import TABLE, Client, RefusedError, Resource

_EXAMPLE = """
Examples: plait get vs · plait get vs/reviews -o yaml · plait get vs,dr -A -o wide · plait get vs -w
"""


@click.command(epilog=_EXAMPLE)
@click.argument("what", nargs=-1, required=True, metavar="KIND[,KIND…] [NAME…] | KIND/NAME…")
@common.namespace
@common.everywhere
@common.selector
@output.option
@click.option("-w", "--watch", is_flag=True, help="Go on with every change.")
@click.option("--show-managed-fields", "owners", is_flag=True, help="Who set which fields, too.")
def command(
    what: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    selector: str,
    form: str,
    watch: bool,
    owners: bool,
) -> None:
    """Show objects, as tables or whole."""
    output.check(form)
    api = common.client()
    targets = common.named(api, what)
    scope = None if all_namespaces else namespace
    query = {"labelSelector": selector} if selector else {}
    if watch:
        return _watch(api, targets, scope, query, _Form(form, owners=owners))
    if form in ("table", "wide"):
        return _tables(api, targets, scope, query, wide=form == "wide")
    return _whole(api, targets, scope, query, _Form(form, owners=owners))


class _Form(NamedTuple):
    """How objects are printed; `owners`: with managedFields, which kubectl leaves out as well."""

    name: str
    owners: bool

    def say(self, value: dict[str, Any]) -> None:
        """Print an object or a list of them; a jsonpath template has its own ends of lines."""
        click.echo(output.data(value, self.name), nl=not self.name.startswith("jsonpath="))

    def shown(self, body: dict[str, Any]) -> dict[str, Any]:
        """The parts of an object that are printed."""
        if self.owners:
            return body
        metadata = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
        return {**body, "metadata": metadata}


Targets = list[tuple[Resource, tuple[str, ...]]]
Query = dict[str, str]


def _whole(api: Client, targets: Targets, scope: str | None, query: Query, form: _Form) -> None:
    """The objects as one document; of those asked for by name, one that is missing is named."""
    found: list[tuple[Resource, dict[str, Any]]] = []
    missing: list[str] = []
    _see_names(targets, scope)
    for resource, names in targets:
        if names:
            bodies = _named(api, resource, names, scope, missing)
        else:
            bodies = _listed(api, resource, scope, query)
        found += [(resource, one) for one in bodies]
    is_single = [len(names) for _, names in targets] == [1]
    if form.name == "name":
        for resource, one in found:
            click.echo(f"{resource.label}/{one['metadata']['name']}")
    elif not is_single:
        objects = [form.shown(one) for _, one in found]
        form.say({"apiVersion": "v1", "kind": "List", "items": objects})
    elif found:
        form.say(form.shown(found[0][1]))
    _fail(missing)


def _named(
    api: Client, resource: Resource, names: tuple[str, ...], scope: str | None, missing: list[str]
) -> list[dict[str, Any]]:
    """The objects of these names; what the API says of one that is not there goes to `missing`."""
    found: list[dict[str, Any]] = []
    for name in names:
        try:
            found.append(api.ask("GET", resource.path(scope, name)).body)
        except RefusedError as error:
            if not error.is_missing:
                raise
            missing.append(error.message)
    return found


def _listed(
    api: Client, resource: Resource, scope: str | None, query: Query
) -> list[dict[str, Any]]:
    page = api.ask("GET", resource.path(scope), query=query).body
    meta = {"apiVersion": page["apiVersion"], "kind": resource.kind}
    return [{**meta, **one} for one in page["items"]]


def _see_names(targets: Targets, scope: str | None) -> None:
    for resource, names in targets:
        if names and scope is None and resource.namespaced:
            raise click.UsageError("a name means one namespace: leave out -A, or the names")


def _tables(api: Client, targets: Targets, scope: str | None, query: Query, *, wide: bool) -> None:
    """A table for each kind that has objects; names get their kind where there are several."""
    shown, missing = [], []
    _see_names(targets, scope)
    for resource, names in targets:
        rows: list[list[Any]] = []
        header: list[str] = []
        for path in [resource.path(scope, name) for name in names] or [resource.path(scope)]:
            try:
                page = api.ask("GET", path, query=query, headers={"Accept": TABLE}).body
            except RefusedError as error:
                if not error.is_missing or not names:
                    raise
                missing.append(error.message)
                continue
            places, header = output.columns(page, wide=wide)
            prefix = f"{resource.label}/" if len(targets) > 1 else ""
            rows += [_row(row, places, prefix, scope) for row in page["rows"]]
        if rows:
            title = ["NAMESPACE", *header] if scope is None and resource.namespaced else header
            shown.append(output.table(title, [_fit(row, title) for row in rows]))
    if shown:
        click.echo("\n\n".join(shown))
    elif not missing:
        click.echo(
            f"no resources found{'' if scope is None else f' in namespace {scope}'}", err=True
        )
    _fail(missing)


def _fail(missing: list[str]) -> None:
    for message in missing:
        click.echo(f"error: {message}", err=True)
    if missing:
        raise SystemExit(1)


def _row(row: dict[str, Any], places: list[int], prefix: str, scope: str | None) -> list[Any]:
    cells = [row["cells"][i] for i in places]
    cells[0] = f"{prefix}{cells[0]}"
    space = row.get("object", {}).get("metadata", {}).get("namespace", "")
    return [space, *cells] if scope is None else cells


def _fit(row: list[Any], title: list[str]) -> list[Any]:
    """Kinds without a namespace have no such column."""
    return row if len(row) == len(title) else row[1:]


def _watch(api: Client, targets: Targets, scope: str | None, query: Query, form: _Form) -> None:
    """The objects, then every change of them, until interrupted."""
    if len(targets) != 1 or len(targets[0][1]) > 1:
        raise click.UsageError("--watch follows one kind, or one object of it")
    resource, names = targets[0]
    wanted = {**query, **({"fieldSelector": f"metadata.name={names[0]}"} if names else {})}
    tabular = form.name in ("table", "wide")
    rows = _Rows(scope if resource.namespaced else "", wide=form.name == "wide")
    headers = {"Accept": TABLE} if tabular else None
    for body in watching.changes(api, resource.path(scope), wanted, headers):
        if tabular:
            click.echo(rows.shown(body))
        elif form.name == "name":
            click.echo(f"{resource.label}/{body['metadata']['name']}")
        else:
            if form.name == "yaml":
                click.echo("---")
            form.say(form.shown(body))


class _Rows:
    """The rows of a watch, under one header: only the first table of it has one."""

    def __init__(self, scope: str | None, *, wide: bool) -> None:
        self._scope = scope
        self._wide = wide
        self._places: list[int] = []
        self._header: list[str] = []
        self._is_first = True

    def shown(self, page: dict[str, Any]) -> str:
        """The rows of one event."""
        if page.get("columnDefinitions"):
            self._places, self._header = output.columns(page, wide=self._wide)
        title = ["NAMESPACE", *self._header] if self._scope is None else self._header
        rows = [_row(row, self._places, "", self._scope) for row in page["rows"]]
        head, self._is_first = self._is_first, False
        return output.table(title, rows, head=head)
