"""An HTML table rendered by chameleon.

Event: {"rows": int, "columns": int}. Answer: the page's length and its number of cells.
"""
import chameleon

TEMPLATE = chameleon.PageTemplate(
    """<table xmlns="http://www.w3.org/1999/xhtml"
       xmlns:tal="http://xml.zope.org/namespaces/tal">
  <tr tal:repeat="row options['table']">
    <td tal:repeat="column row"><span tal:content="column"/></td>
  </tr>
</table>"""
)


def handler(event, context):
    rows = int(event.get("rows", 100))
    columns = int(event.get("columns", 10))
    table = [[f"{row}:{column}" for column in range(columns)] for row in range(rows)]
    page = TEMPLATE.render(options={"table": table})
    return {"length": len(page), "cells": page.count("<td>"), "last": f"{rows - 1}:{columns - 1}" in page}
