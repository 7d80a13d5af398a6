"""Dynamic HTML with jinja2: a page with a list of `count` generated rows.

Event: {"username": str, "count": int}. Answer: the page's length, its number of rows and, when
"page" is true, the page.
"""
import html.parser

import jinja2

TEMPLATE = jinja2.Environment(autoescape=True).from_string(
    """<!DOCTYPE html>
<html><head><title>Randomly generated data.</title></head>
<body class="container">
<p>Welcome {{ username }}!</p>
<ul>
{%- for number in numbers %}
  <li class="{{ loop.cycle('odd', 'even') }}">{{ number }}</li>
{%- endfor %}
</ul>
</body></html>
"""
)


class RowCounter(html.parser.HTMLParser):
    rows = 0

    def handle_starttag(self, tag, attrs):
        self.rows += tag == "li"


def handler(event, context):
    count = int(event.get("count", 1000))
    numbers = [(i * 2654435761) % 1000000 for i in range(count)]
    page = TEMPLATE.render(username=event.get("username", "nobody"), numbers=numbers)
    counter = RowCounter()
    counter.feed(page)
    answer = {"length": len(page), "rows": counter.rows}
    if event.get("page"):
        answer["page"] = page
    return answer
