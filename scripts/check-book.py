#!/usr/bin/env python3
"""Checks a built book: every link that stays inside leads to a file and, where it names one, to an anchor in it."""

import pathlib
import sys
import urllib.parse
from html.parser import HTMLParser


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.anchors = [], set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(filter(None, (attrs.get("id"), attrs.get("name"))))
        target = attrs.get("href") if tag == "a" else attrs.get("src") if tag == "img" else None
        if target:
            self.links.append(target)


def main(folder):
    root = pathlib.Path(folder).resolve()
    pages = {}
    for file in root.rglob("*.html"):
        # One page for printing repeats all others, 404 has links from the top.
        if file.name in ("print.html", "404.html", "toc.html"):
            continue
        pages[file] = Page()
        pages[file].feed(file.read_text(encoding="utf-8"))
    bad, checked = [], 0
    for file, page in pages.items():
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                continue
            checked += 1
            target = (file.parent / urllib.parse.unquote(url.path)).resolve() if url.path else file
            if target.is_dir():
                target = target / "index.html"
            if not target.exists():
                bad.append(f"{file.relative_to(root)}: {link} does not exist")
            elif url.fragment and target in pages:
                if urllib.parse.unquote(url.fragment) not in pages[target].anchors:
                    bad.append(f"{file.relative_to(root)}: {link} has no such anchor")
    print("\n".join(bad))
    print(f"{len(pages)} pages, {checked} links, {len(bad)} broken")
    sys.exit(1 if bad or checked < 100 else 0)


main(*sys.argv[1:])
