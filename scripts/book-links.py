#!/usr/bin/env python3
"""A preprocessor of mdBook: links that leave docs/ become links to the repository."""

import json
import posixpath
import re
import sys

REPOSITORY = "https://github.com/stopwatt/stopwatt/blob/main/"
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


def rewritten(content, page):
    def outside(match):
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), match[2]))
        if target == "docs" or target.startswith("docs/"):
            return match[0]
        return f"{match[1]}{REPOSITORY}{target}{match[3]}"

    lines, fenced = [], False
    for line in content.split("\n"):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        lines.append(line if fenced else LINK.sub(outside, line))
    return "\n".join(lines)


def walk(items):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            if chapter.get("path"):
                chapter["content"] = rewritten(chapter["content"], chapter["path"])
            walk(chapter["sub_items"])


def main():
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    _context, book = json.load(sys.stdin)
    walk(book.get("items") or book.get("sections"))
    json.dump(book, sys.stdout)


main()
