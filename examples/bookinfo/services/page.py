"""How the page of a book looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from string import Template
from typing import Any, NamedTuple

from examples.bookinfo.services.server import Answer, Service

STARS = 5
"""The most that can be given."""

_FACTS = ("author", "year", "type", "pages", "publisher", "language", "ISBN-10", "ISBN-13")


class Shown(NamedTuple):
    """What is on the page; `user` is empty where nobody signed in."""

    product: Mapping[str, Any]
    user: str
    service: Service
    details: Answer
    reviews: Answer


def render(shown: Shown) -> str:
    """The page as HTML that needs no other file."""
    return _PAGE.substitute(
        style=_STYLE,
        title=escape(shown.product["title"]),
        description=escape(shown.product["description"]),
        sign=_signed_in(shown.user) if shown.user else _SIGN_IN,
        details=_details(shown.details),
        reviews=_reviews(shown.reviews),
        path=_path(shown),
    )


def _signed_in(user: str) -> str:
    return f'<p>Signed in as <b>{escape(user)}</b> &middot; <a href="/logout">sign out</a></p>'


def _failure(what: str, answer: Answer) -> str:
    return f'<p class="failure">{what} are unavailable: {answer.status}</p>'


def _details(answer: Answer) -> str:
    if not answer.is_good:
        return _failure("details", answer)
    rows = (
        f"<dt>{name}</dt><dd>{escape(str(answer.value.get(name, '-')))}</dd>" for name in _FACTS
    )
    return f"<dl>{''.join(rows)}</dl>{_by(answer.value)}"


def _reviews(answer: Answer) -> str:
    if not answer.is_good:
        return _failure("reviews", answer)
    quotes = (
        f"<blockquote><p>{escape(one['text'])}</p>{_rating(one.get('rating'))}"
        f"<cite>{escape(one['reviewer'])}</cite></blockquote>"
        for one in answer.value["reviews"]
    )
    return "".join(quotes) + _by(answer.value)


def _rating(rating: Mapping[str, Any] | None) -> str:
    if rating is None:
        return ""
    if "error" in rating:
        return f'<p class="failure">{escape(rating["error"])}</p>'
    stars, color = int(rating["stars"]), escape(str(rating["color"]))
    drawn = f"{'★' * stars}<i>{'★' * (STARS - stars)}</i>"
    return f'<p class="stars {color}" role="img" aria-label="{stars} of {STARS} stars">{drawn}</p>'


def _by(value: Mapping[str, Any]) -> str:
    name, version = escape(value["servedBy"]), escape(value["version"])
    return f'<p class="by">answered by <b>{name}</b> ({version})</p>'


def _path(shown: Shown) -> str:
    """The services that had a part in the page."""
    reviews = shown.reviews.value if shown.reviews.is_good else {}
    ratings = reviews.get("ratingsBy")
    steps = [("productpage", shown.service.name), ("details", _name(shown.details))]
    steps += [("reviews", _name(shown.reviews)), *([("ratings", ratings)] if ratings else [])]
    return "".join(_steps(steps))


def _name(answer: Answer) -> str:
    return answer.value["servedBy"] if answer.is_good else str(answer.status)


def _steps(steps: Iterable[tuple[str, str]]) -> Iterable[str]:
    for service, name in steps:
        bad = ' class="bad"' if name.isdigit() else ""
        yield f'<li{bad} data-service="{service}">{escape(name)}</li>'


ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" '
    'rx="7" fill="#2d4a3e"/><path d="M8 9c5-2 7 0 8 1 1-1 3-3 8-1v14c-5-2-7 0-8 1-1-1-3-3-8-1z" '
    'fill="#f6f1e7"/><path d="M16 10v14" stroke="#2d4a3e" stroke-width="1.5"/></svg>'
)

_SIGN_IN = (
    '<form method="post" action="/login"><input name="username" placeholder="your name" '
    'aria-label="your name" autocomplete="username" maxlength="40" required> '
    "<button>Sign in</button></form>"
)

_STYLE = """
:root { color-scheme: light; --ink: #22302a; --soft: #66756d; --paper: #f6f1e7; --green: #2d4a3e }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, sans-serif }
header { background: var(--green); color: #fff; padding: .8rem 1.5rem; display: flex;
  justify-content: space-between; align-items: center; flex-wrap: wrap; gap: .5rem 1rem }
header a { color: #cfe3d8 }
header p, header form { margin: 0 }
input, button { font: inherit; padding: .25rem .6rem; border: 0; border-radius: .4rem }
button { background: #cfe3d8; color: var(--green); cursor: pointer }
main { max-width: 62rem; margin: 2rem auto; padding: 0 1.5rem }
h1, h2 { font-family: Georgia, "Times New Roman", serif; line-height: 1.2 }
h1 { font-size: 2.4rem; margin: 0 0 .6rem }
h2 { margin: 0 0 .8rem; font-size: 1.25rem; color: var(--green) }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 1.5rem;
  margin: 1.8rem 0 }
section { background: #fff; border-radius: .8rem; padding: 1.3rem 1.5rem;
  box-shadow: 0 1px 4px #0002 }
dl { display: grid; grid-template-columns: auto 1fr; gap: .3rem 1.2rem; margin: 0 }
dt { color: var(--soft) }
dt::first-letter { text-transform: uppercase }
dd { margin: 0 }
blockquote { margin: 0 0 1.2rem; padding-left: 1rem; border-left: 3px solid #dcd3c0 }
blockquote p { margin: 0 }
cite { color: var(--soft); font-size: .9rem }
.stars { font-size: 1.5rem; letter-spacing: .1em; line-height: 1.3 }
.stars i { opacity: .18 }
.stars.black { color: #1b1b1b }
.stars.red { color: #c8102e }
.by { color: var(--soft); font-size: .85rem; margin: 1rem 0 0 }
.failure { background: #fbe9e7; color: #8c1d10; border-radius: .5rem; padding: .5rem .9rem }
ol { list-style: none; display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; font-size: .85rem }
li { background: #e4ebe6; border-radius: 1rem; padding: .15rem .8rem }
li.bad { background: #fbe9e7; color: #8c1d10 }
li.bad::before { content: attr(data-service) ": " }
"""

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title &middot; bookinfo</title>
<link rel="icon" href="/static/icon.svg">
<style>$style</style>
</head>
<body>
<header><b>bookinfo</b>$sign</header>
<main>
<h1>$title</h1>
<p>$description</p>
<div class="columns">
<section id="details"><h2>Details</h2>$details</section>
<section id="reviews"><h2>Reviews</h2>$reviews</section>
</div>
<h2>Who answered</h2>
<ol>$path</ol>
</main>
</body>
</html>
""")
